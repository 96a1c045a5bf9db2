// Standard output and standard error that are closed, full, or whose reader has gone.
#include <doctest/doctest.h>
#include <pty.h>

#include "engine/files/safetensors.h"
#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

// mlkd with these arguments by a shell, which redirects: `line` calls the program as `mlkd`.
Outcome shell(const std::string& line, const Arguments& arguments) {
    Arguments all{"sh", "-c", "set -f; mlkd() { \"$program\" \"$@\"; }; program=$0; " + line, MLKD_BINARY};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return Process(all).wait();
}

Arguments eval_arguments() {
    return {"eval", "--device", "cpu", "--threads", "2", "--checkpoint", teacher_run() + "/student_best.safetensors", "--data", tiny_data};
}

Arguments figures_arguments(const std::string& out) {
    const std::string file = teacher_run() + "/student_best.safetensors";
    return {"figures", "--device", "cpu", "--threads", "2", "--teacher", file, "--student", "same=" + file, "--data", tiny_data, "--out", out};
}

bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What mlkd writes to a terminal.
std::string on_terminal(const Arguments& arguments, const char* terminal, const char* no_color) {
    int master = -1;
    const pid_t child = ::forkpty(&master, nullptr, nullptr, nullptr);
    REQUIRE(child >= 0);
    if (child == 0) {
        ::setenv("TERM", terminal, 1);
        if (no_color != nullptr) ::setenv("NO_COLOR", no_color, 1);
        const Arguments all = command(arguments);
        std::vector<char*> argv;
        for (const std::string& argument : all) argv.push_back(const_cast<char*>(argument.c_str()));
        argv.push_back(nullptr);
        ::execvp(argv[0], argv.data());
        ::_exit(127);
    }
    std::string out;
    char buffer[4096];
    // At its end a terminal's other side fails with EIO.
    for (ssize_t count; (count = ::read(master, buffer, sizeof buffer)) > 0;) out.append(buffer, static_cast<std::size_t>(count));
    ::close(master);
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == 0);
    return out;
}

}  // namespace

TEST_CASE("output: results that cannot be written are a failure") {
    const TemporaryFolder folder;
    const std::vector<Arguments> commands = {{"models"},
                                             {"doctor"},
                                             {"--help"},
                                             {"bench", "--help"},
                                             {"--version"},
                                             {"train", "--print-config"},
                                             {"bench", "--list"},
                                             {"bench", "--filter", "view", "--min-time", "0.001", "--repetitions", "1"},
                                             eval_arguments(),
                                             figures_arguments(folder / "figures")};
    for (const Arguments& arguments : commands)
        for (const char* stream : {">/dev/full", ">&-"}) {
            CAPTURE(arguments);
            CAPTURE(stream);
            const Outcome outcome = shell(std::string("mlkd \"$@\" ") + stream, arguments);
            CHECK(outcome.exit_code == 1);
            CHECK_MESSAGE(is_one_line(outcome.err), outcome.err);
            CHECK(contains(outcome.err, "standard output: cannot write: "));
        }
    // What does not depend on the lost stream is there.
    CHECK(fs::exists(folder / "figures/figures.json"));
}

TEST_CASE("output: an error keeps its exit code where nobody can read it") {
    for (const char* stream : {"2>/dev/full", "2>&-", ">/dev/full 2>/dev/full", ">&- 2>&-", "<&- >&- 2>&-"}) {
        CAPTURE(stream);
        CHECK(shell(std::string("mlkd \"$@\" ") + stream, {"trian"}).exit_code == 2);
        CHECK(shell(std::string("mlkd \"$@\" ") + stream, {"eval", "--checkpoint", "none", "--data", "none"}).exit_code == 1);
    }
    CHECK(shell("mlkd \"$@\" 2>&-", {"models"}).exit_code == 0);
}

TEST_CASE("output: a reader that goes away ends a command quietly") {
    const TemporaryFolder folder;
    const std::string gone = folder / "gone";
    // Starts when the reader has closed the pipe.
    const Outcome outcome = shell("{ until [ -e " + gone + " ]; do sleep 0.01; done; mlkd \"$@\"; echo $? >&2; } | { exec <&-; : >" + gone + "; }",
                                  {"bench", "--list"});
    CHECK(outcome.err == "141\n");
}

TEST_CASE("output: a training goes on without its output, says so, and its files are those of any other") {
    for (const char* line : {"mlkd \"$@\" >/dev/full", "mlkd \"$@\" >&-", "{ mlkd \"$@\"; echo \"exit $?\" >&2; } | head -n 1"}) {
        CAPTURE(line);
        const TemporaryFolder folder;
        const std::string run = folder_with_plans_of(teacher_run(), folder / "run");
        const Outcome outcome = shell(line, train_arguments(run));
        CHECK(outcome.exit_code == 0);
        const bool pipe = contains(line, "head");
        const std::string said = pipe ? outcome.err.substr(0, outcome.err.find("exit 0\n")) : outcome.err;
        if (pipe) CHECK(outcome.err.ends_with("exit 0\n"));
        CHECK_MESSAGE(is_one_line(said), said);
        CHECK(contains(said, run + "/metrics.jsonl"));
        CHECK(difference(run, teacher_run()) == "");
    }
}

TEST_CASE("output: no escape codes, and no progress line where a terminal cannot write over it") {
    const TemporaryFolder folder;
    const auto train = [&](const std::string& run) {
        return train_arguments(folder_with_plans_of(teacher_run(), folder / run), {"solver.epochs=1", "solver.batch_size=8"});
    };
    const std::string usual = on_terminal(train("usual"), "xterm", nullptr), plain = on_terminal(train("plain"), "xterm", "1");
    for (const std::string& text : {usual, plain}) {
        CHECK(contains(text, "\rEpoch: [1]["));
        CHECK(!contains(text, "\x1b"));
    }
    const std::string dumb = on_terminal(train("dumb"), "dumb", nullptr);
    CHECK(!contains(dumb, "Epoch: ["));
    CHECK(!contains(dumb, "\x1b"));
    CHECK(contains(dumb, "Epoch   1/1"));
}
