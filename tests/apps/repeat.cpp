// A run can be repeated: with --deterministic from its seed alone, else with its convolution plans, by the command it prints.
#include <doctest/doctest.h>

#include "apps/train/repeat_command.h"
#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

std::string repeat_line(const std::string& out) {
    const std::string mark = "\nrepeat    ";
    const std::size_t start = out.find(mark);
    REQUIRE_MESSAGE(start != std::string::npos, out);
    const std::size_t end = out.find('\n', start + 1);
    REQUIRE(end == out.size() - 1);  // the last line
    return out.substr(start + mark.size(), end - start - mark.size());
}

// Every convolution of a run's plans, chosen otherwise where `choice` is another.
void write_plans(const std::string& from, const std::string& folder, const std::string& choice) {
    auto plans = nlohmann::ordered_json::parse(read_bytes(from + "/convolution_plans.json"));
    for (auto& [problem, method] : plans["choices"].items()) method = choice;
    fs::create_directories(folder);
    write_bytes(folder + "/convolution_plans.json", plans.dump(2));
}

}  // namespace

TEST_CASE("repeat: --deterministic gives the same bits in fresh folders, whatever plan files say") {
    const TemporaryFolder folder;
    const Arguments more{"--deterministic", "solver.epochs=2"};
    const std::string first = folder / "first", second = folder / "second", third = folder / "third";
    const Outcome outcome = run_mlkd(distil_arguments(first, "mlkd", more));
    REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
    CHECK(!fs::exists(first + "/convolution_plans.json"));
    for (const auto& [run, choice] : {std::pair{second, "winograd"}, {third, "direct_blocked"}}) {
        write_plans(mlkd_run(), run, choice);
        const std::string plans = read_bytes(run + "/convolution_plans.json");
        REQUIRE(run_mlkd(distil_arguments(run, "mlkd", more)).exit_code == 0);
        CHECK(difference(run, first) == "");
        CHECK(read_bytes(run + "/convolution_plans.json") == plans);
    }
    // The plans of the test are ones that change bits, where oneDNN has Winograd for the processor; its direct methods may agree.
    const std::string timed = folder / "timed", otherwise = folder / "otherwise";
    write_plans(mlkd_run(), timed, "winograd");
    write_plans(mlkd_run(), otherwise, "direct");
    for (const std::string& run : {timed, otherwise}) REQUIRE(run_mlkd(distil_arguments(run, "mlkd", {"solver.epochs=2"})).exit_code == 0);
    if (difference(timed, otherwise).empty())
        MESSAGE("skipped: every plan computes the same bits on ",
                nlohmann::json::parse(read_bytes(timed + "/convolution_plans.json"))["machine"].dump());

    const std::string again = repeat_line(outcome.out);
    CHECK(again.find(" --deterministic") != std::string::npos);
    CHECK(again.find(" --seed 0") != std::string::npos);
    CHECK(again.find(" --threads 2") != std::string::npos);
    REQUIRE(Process({"sh", "-c", again}).wait().exit_code == 0);
    CHECK(difference(first + "_again", first) == "");
}

TEST_CASE("repeat: the printed command repeats a run with its plans, under any folder's name") {
    const TemporaryFolder folder;
    const std::string run = folder / "it's a run/";
    write_plans(teacher_run(), run, "winograd");  // not what timing chooses for every convolution
    const Outcome outcome = run_mlkd(train_arguments(run, {"solver.epochs=2", "--seed", "3"}));
    REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
    const Outcome again = Process({"sh", "-c", repeat_line(outcome.out)}).wait();
    REQUIRE_MESSAGE(again.exit_code == 0, again.err);
    CHECK(difference(folder / "it's a run_again", run) == "");
}

TEST_CASE("repeat: eval takes --deterministic, and neither it nor a run takes it with --nondeterministic") {
    const Arguments eval{"eval",   "--device", "cpu", "--threads", "2", "--checkpoint", teacher_run() + "/student_best.safetensors",
                         "--data", tiny_data};
    Arguments both = eval, fixed = eval;
    fixed.push_back("--deterministic");
    both.insert(both.end(), {"--deterministic", "--nondeterministic"});
    const Outcome once = run_mlkd(fixed), twice = run_mlkd(fixed), refused = run_mlkd(both);
    CHECK(once.exit_code == 0);
    CHECK(once.out == twice.out);
    CHECK(refused.exit_code == 2);
    CHECK(is_one_line(refused.err));
    const TemporaryFolder folder;
    const Outcome run = run_mlkd(train_arguments(folder / "run", {"--deterministic", "nondeterministic=true"}));
    CHECK(run.exit_code == 2);
    CHECK(is_one_line(run.err));
    CHECK(!fs::exists(folder / "run"));
}

TEST_CASE("repeat: words for a shell") {
    CHECK(shell_word("a/b-c_1.json") == "a/b-c_1.json");
    CHECK(shell_word("") == "''");
    CHECK(shell_word("it's $HOME") == "'it'\"'\"'s $HOME'");
}
