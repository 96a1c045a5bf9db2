// Signals at every moment of every command: the right exit code, soon, and nothing lost or half written.
#include "apps/signals.h"

#include <doctest/doctest.h>

#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

// Runs `work` in a process of its own and gives its exit code, or -signal where one ended it.
int code_of_child(const std::function<void()>& work) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2}) ::signal(signal, SIG_DFL);  // also under nohup
        work();
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

constexpr auto longer_than_one_request = std::chrono::milliseconds(250);

// One batch of training, and minutes of evaluation.
const std::string long_test = "synthetic:20000:4";
Arguments long_evaluation(const std::string& run, const Arguments& more = {}) {
    return train_arguments(run, with_settings({"dataset.path=" + long_test, "dataset.train_images=20", "solver.epochs=1"}, more));
}

}  // namespace

TEST_CASE("signals: the first is noted, the second ends the program, and those that are ignored stay ignored") {
    CHECK(code_of_child([] {
              const SignalWatch watch(OnSignal::note);
              ::raise(SIGUSR1);
              ::raise(SIGUSR1);  // timeout(1) sends it to the process and to its group
              ::_exit(noted_signal());
          }) == SIGUSR1);
    CHECK(code_of_child([] {
              const SignalWatch watch(OnSignal::note);
              ::raise(SIGHUP);
              std::this_thread::sleep_for(longer_than_one_request);
              ::raise(SIGHUP);
          }) == 129);
    CHECK(code_of_child([] {
              const SignalWatch watch(OnSignal::note);
              ::raise(SIGUSR1);
              ::raise(SIGTERM);
          }) == 143);
    CHECK(code_of_child([] {
              const SignalWatch watch(OnSignal::end);
              ::raise(SIGUSR2);
          }) == 128 + SIGUSR2);
    CHECK(code_of_child([] {
              ::signal(SIGHUP, SIG_IGN);
              const SignalWatch watch(OnSignal::note);
              ::raise(SIGHUP);
              ::_exit(noted_signal() == 0 ? 7 : 8);
          }) == 7);
    CHECK(code_of_child([] {
              const SignalWatch outer(OnSignal::end);
              { const SignalWatch inner(OnSignal::note); }
              ::raise(SIGINT);
          }) == 130);
}

TEST_CASE("signals: each of them saves the epoch under way, and the run goes on from there") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(teacher_run(), folder / "run");
    const Arguments arguments = train_arguments(run, {"--resume"});
    for (const int signal : {SIGHUP, SIGUSR1, SIGUSR2, SIGTERM, SIGINT}) {
        INFO(signal);
        Process process(command(arguments));
        REQUIRE(process.wait_for_output("\nrun "));
        process.send(signal);
        const Outcome outcome = process.wait();
        CHECK(outcome.exit_code == 128 + signal);
        CHECK(outcome.err.empty());
        CHECK(fs::exists(run + "/last.safetensors"));
    }
    const Outcome last = run_mlkd(arguments);
    REQUIRE_MESSAGE(last.exit_code == 0, last.err);
    CHECK(difference(run, teacher_run()) == "");
}

TEST_CASE("signals: an epoch's evaluation ends at once, its training is saved, and --resume begins with the evaluation") {
    for (const int signal : {SIGTERM, SIGKILL}) {
        INFO(signal);
        const TemporaryFolder folder;
        const std::string run = folder / "run";
        Process process(command(long_evaluation(run)));
        REQUIRE(process.wait_until([&] { return fs::exists(run + "/last.safetensors"); }));
        process.send(signal);
        const Outcome stopped = process.wait();
        if (signal == SIGTERM) {
            CHECK(stopped.exit_code == 143);
            CHECK(stopped.out.find("--resume") != std::string::npos);
        }
        CHECK(!fs::exists(run + "/metrics.jsonl"));
        CHECK(!fs::exists(run + "/student_last.safetensors"));
        CHECK(read_safetensors(run + "/last.safetensors").tensor("progress.next_batch").as<double>()[0] == 1);  // batches

        // The same weights, tested on fewer images, give what an uninterrupted run gives.
        const Arguments fewer{"dataset.path=synthetic:90:4"};
        const Outcome resumed = run_mlkd(long_evaluation(run, {"--resume", fewer[0]}));
        REQUIRE_MESSAGE(resumed.exit_code == 0, resumed.err);
        CHECK(resumed.out.find("at epoch 1, after 1 of its batches") != std::string::npos);
        const std::string whole = folder_with_plans_of(run, folder / "whole");
        REQUIRE(run_mlkd(long_evaluation(whole, fewer)).exit_code == 0);
        CHECK(difference(run, whole) == "");
    }
}

TEST_CASE("signals: while data are loaded and the teacher is tested, train ends at once") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    Process process(command(distil_arguments(run, "kd", {"dataset.path=" + long_test})));
    REQUIRE(process.wait_until([&] { return fs::exists(run + "/convolution_plans.json"); }));  // of the teacher
    process.send(SIGUSR1);
    CHECK(process.wait().exit_code == 128 + SIGUSR1);
    CHECK(!fs::exists(run + "/config.json"));

    Process early(command(distil_arguments(folder / "early", "kd", {"dataset.path=" + long_test})));
    REQUIRE(early.wait_until([&] { return early.watches_signals(); }));
    early.send(SIGTERM);
    CHECK(early.wait().exit_code == 143);
}

TEST_CASE("signals: eval and bench end at once") {
    const TemporaryFolder folder;
    const std::string checkpoint = teacher_run() + "/student_best.safetensors";
    for (const int signal : {SIGTERM, SIGHUP}) {
        Process eval(command({"eval", "--device", "cpu", "--threads", "1", "--checkpoint", checkpoint, "--data", long_test}));
        REQUIRE(eval.wait_until([&] { return eval.watches_signals(); }));
        eval.send(signal);
        const Outcome outcome = eval.wait();
        CHECK(outcome.exit_code == 128 + signal);
        CHECK(outcome.out.find("Acc@1") == std::string::npos);
    }
    Process bench(command({"bench", "--device", "cpu", "--threads", "1", "--filter", "^loss/", "--json", folder / "bench.json"}));
    REQUIRE(bench.wait_for_output("at min"));
    bench.send(SIGINT);
    CHECK(bench.wait().exit_code == 130);
    CHECK(folder.entries() == 0);
}

TEST_CASE("signals: figures leaves nothing half written, and no gnuplot behind") {
    const TemporaryFolder folder;
    const std::string checkpoint = teacher_run() + "/student_best.safetensors", out = folder / "out";
    const auto figures = [&](const std::string& data) {
        return command({"figures", "--device", "cpu", "--threads", "1", "--teacher", checkpoint, "--student", "a=" + checkpoint, "--data",
                        data, "--out", out});
    };
    Process early(figures(long_test));
    REQUIRE(early.wait_until([&] { return early.watches_signals(); }));
    early.send(SIGTERM);
    CHECK(early.wait().exit_code == 143);
    CHECK(files_with(out, "").empty());

    // A gnuplot that does not come to an end.
    fs::create_directories(folder / "bin");
    write_bytes(folder / "bin/gnuplot", "#!/bin/sh\necho $$ > pid\n: > figure1_input_correlation.png.part\nexec sleep 600\n");
    fs::permissions(folder / "bin/gnuplot", fs::perms::owner_all);
    Arguments slow = figures("synthetic:30:4");
    slow.insert(slow.begin(), {"env", "PATH=" + (folder / "bin") + ":/usr/bin:/bin"});
    Process drawing(slow);
    REQUIRE(drawing.wait_until([&] { return fs::exists(out + "/figure1_input_correlation.png.part"); }));
    drawing.send(SIGTERM);
    CHECK(drawing.wait().exit_code == 143);
    CHECK(::kill(std::stoi(read_bytes(out + "/pid")), 0) != 0);
    CHECK_MESSAGE(drawing.wait().err == "mlkd: stopped by SIGTERM\n", drawing.wait().err);
    CHECK(files_with(out, ".part").empty());
    CHECK(files_with(out, ".tmp").empty());
    CHECK(files_with(out, ".png").empty());
}
