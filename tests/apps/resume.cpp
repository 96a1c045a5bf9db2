// Runs that are killed or stopped and taken up again end as if nothing had happened, bit for bit.
#include <doctest/doctest.h>

#include <chrono>
#include <random>
#include <thread>

#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

bool finished(const std::string& run) { return std::filesystem::exists(run + "/metrics.jsonl") && metrics_of(run).size() == tiny_epochs; }

Arguments with_resume(Arguments arguments) {
    arguments.push_back("--resume");
    return arguments;
}

// Checkpoints that exist can be read, whenever the process was killed.
void check_files(const std::string& run) {
    for (const char* name : {"last", "best", "student_last", "student_best"})
        if (const std::string path = run + "/" + name + ".safetensors"; std::filesystem::exists(path)) CHECK_NOTHROW(read_safetensors(path));
}

// Batches of the epoch under way that a run has saved.
double saved_batches(const std::string& run) {
    return read_safetensors(run + "/last.safetensors").tensor("progress.next_batch").as<double>()[0];
}

// Rewrites a checkpoint as versions before format 2 wrote it: all numbers of the progress in one tensor, of five parts of the loss.
void make_format_1(const std::string& path) {
    SafetensorsFile file = read_safetensors(path);
    std::vector<double> values;
    for (const char* name :
         {"epoch", "next_batch", "best_top1", "best_epoch", "last_top1", "seconds", "waited_for_data", "loss.ce", "loss.instance",
          "loss.batch", "loss.class", "loss.total", "samples", "steps", "bad", "bad", "top1", "top5", "cross_entropy"}) {
        const auto found = file.tensors.find(std::string("progress.") + name);
        values.push_back(found != file.tensors.end() ? found->second.as<double>()[0] : std::string(name) == "bad" ? -1 : 0);
    }
    std::erase_if(file.tensors, [](const auto& entry) { return entry.first.starts_with("progress."); });
    file.tensors["progress"] = HostTensor::of<double>({static_cast<std::int64_t>(values.size())}, std::span<const double>(values));
    file.metadata.erase("checkpoint_format");
    write_safetensors(path, file);
}

}  // namespace

// The folder starts without convolution plans: kills hit their timing and writing, too. Whatever was chosen before the
// last kill stays chosen, so an uninterrupted run with the plans found in the end must give the same bits.
TEST_CASE("resume: kills at random moments leave no trace") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    const unsigned seed = std::random_device{}();
    INFO("seed ", seed);
    std::mt19937 random(seed);
    const Arguments arguments = with_resume(distil_arguments(run, "mlkd"));
    int kills = 0;
    for (double longest = 0.5; kills < 8; longest *= 1.3) {
        const double delay = std::uniform_real_distribution<double>(0.02, longest)(random);
        Process process(command(arguments));
        std::this_thread::sleep_for(std::chrono::duration<double>(delay));
        if (process.ended()) break;
        process.send(SIGKILL);
        CHECK(process.wait().signal == SIGKILL);
        ++kills;
        check_files(run);
    }
    CHECK(kills > 0);
    const Outcome last = run_mlkd(arguments);
    REQUIRE_MESSAGE(last.exit_code == 0, last.err);
    REQUIRE(finished(run));
    const std::string whole = folder_with_plans_of(run, folder / "whole");
    REQUIRE(run_mlkd(distil_arguments(whole, "mlkd")).exit_code == 0);
    CHECK(difference(run, whole) == "");
}

TEST_CASE("resume: kills while a file is being written leave no trace") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(teacher_run(), folder / "run");
    const Arguments arguments = with_resume(train_arguments(run));
    int kills = 0;
    for (const char* file : {"config.json", "student_best.safetensors", "best.safetensors", "student_last.safetensors", "last.safetensors",
                             "last.safetensors", "last.safetensors"}) {
        Process process(command(arguments));
        const std::string temporary = std::string(file) + ".tmp.";
        // A file that an earlier kill left is gone when the program has looked at its folder.
        const auto stale = files_with(run, temporary);
        const bool seen = process.wait_until([&] {
            const auto found = files_with(run, temporary);
            return !found.empty() && found != stale;
        });
        if (!seen) continue;  // written between two looks
        process.send(SIGKILL);
        kills += process.wait().signal == SIGKILL;
        check_files(run);
    }
    CHECK(kills > 0);
    MESSAGE(kills, " kills while writing");
    const Outcome last = run_mlkd(arguments);
    REQUIRE_MESSAGE(last.exit_code == 0, last.err);
    CHECK(difference(run, teacher_run()) == "");
    CHECK(files_with(run, ".tmp").empty());
}

TEST_CASE("resume: SIGINT and SIGTERM save the epoch under way, print the best so far, and end with 130 and 143") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(teacher_run(), folder / "run");
    const Arguments arguments = with_resume(train_arguments(run));
    {
        Process process(command(arguments));
        REQUIRE(process.wait_for_output("\nrun "));
        process.send(SIGINT);
        const Outcome outcome = process.wait();
        CHECK(outcome.exit_code == 130);
        CHECK(outcome.err.empty());
        CHECK(outcome.out.find("stopped by a signal at epoch 1") != std::string::npos);
        CHECK(outcome.out.find("Best accuracy") == std::string::npos);  // nothing has been tested yet
        CHECK(files_with(run, ".tmp").empty());
    }
    bool within_an_epoch = false;
    for (int attempt = 0; attempt < 3 && !finished(run) && !within_an_epoch; ++attempt) {
        Process process(command(arguments));
        if (!process.wait_for_output("\nEpoch ")) break;
        std::this_thread::sleep_for(std::chrono::milliseconds(40));
        process.send(SIGTERM);
        const Outcome outcome = process.wait();
        CHECK(outcome.exit_code == 143);
        CHECK(outcome.err.empty());
        CHECK(outcome.out.find("Best accuracy: ") != std::string::npos);
        CHECK(files_with(run, ".tmp").empty());
        within_an_epoch = saved_batches(run) > 0;
    }
    CHECK(within_an_epoch);
    const Outcome last = run_mlkd(arguments);
    REQUIRE_MESSAGE(last.exit_code == 0, last.err);
    CHECK(difference(run, teacher_run()) == "");
}

TEST_CASE("resume: with two views, after a stop within an epoch") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(mlkd_run(), folder / "run");
    const Arguments arguments = with_resume(distil_arguments(run, "mlkd"));
    Process process(command(arguments));
    REQUIRE(process.wait_for_output("\nrun "));
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    process.send(SIGTERM);
    CHECK(process.wait().exit_code == 143);
    MESSAGE("stopped after batch ", saved_batches(run));
    const Outcome last = run_mlkd(arguments);
    REQUIRE_MESSAGE(last.exit_code == 0, last.err);
    CHECK(difference(run, mlkd_run()) == "");
}

TEST_CASE("resume: a finished run stays as it is, and a folder without a run starts one") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    std::filesystem::copy(teacher_run(), run);
    const std::string before = read_bytes(run + "/last.safetensors");
    const Outcome outcome = run_mlkd(with_resume(train_arguments(run)));
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out.find("all 4 epochs are done") != std::string::npos);
    CHECK(outcome.out.find("Best accuracy: ") != std::string::npos);
    CHECK(read_bytes(run + "/last.safetensors") == before);
    CHECK(read_bytes(run + "/metrics.jsonl") == read_bytes(teacher_run() + "/metrics.jsonl"));

    const std::string fresh = folder_with_plans_of(teacher_run(), folder / "fresh");
    const Outcome started = run_mlkd(with_resume(train_arguments(fresh)));
    CHECK(started.exit_code == 0);
    CHECK(started.out.find("starting at epoch 1") != std::string::npos);
    CHECK(difference(fresh, teacher_run()) == "");
}

TEST_CASE("resume: AdamW goes on with its step and both of its means, and under no other optimizer") {
    const TemporaryFolder folder;
    const std::string whole = folder_with_plans_of(teacher_run(), folder / "whole"),
                      run = folder_with_plans_of(teacher_run(), folder / "run");
    const Arguments adamw{"solver.type=AdamW", "solver.lr=0.002", "solver.epochs=2"};
    REQUIRE(run_mlkd(train_arguments(whole, adamw)).exit_code == 0);
    REQUIRE(run_mlkd(train_arguments(run, with_settings(adamw, {"solver.epochs=1"}))).exit_code == 0);
    const SafetensorsFile last = read_safetensors(run + "/last.safetensors");
    CHECK(last.tensor("optimizer.step").as<double>()[0] == 7);
    CHECK(last.tensors.contains("optimizer.exp_avg.conv1.weight"));
    CHECK(last.tensors.contains("optimizer.exp_avg_sq.fc.bias"));
    const Outcome sgd = run_mlkd(with_resume(train_arguments(run, {"solver.lr=0.002", "solver.epochs=2"})));
    CHECK(sgd.exit_code == 2);
    CHECK(sgd.err.find("solver.type was \"AdamW\", is \"SGD\"") != std::string::npos);
    REQUIRE(run_mlkd(with_resume(train_arguments(run, adamw))).exit_code == 0);
    CHECK(difference(run, whole) == "");
}

TEST_CASE("resume: a checkpoint of format 1 goes on bit for bit; one of a later format is refused") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(mlkd_run(), folder / "run"), whole = mlkd_run();
    const Arguments arguments = distil_arguments(run, "mlkd");
    Process process(command(arguments));
    while (!std::filesystem::exists(run + "/last.safetensors")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    process.send(SIGTERM);
    process.wait();
    make_format_1(run + "/last.safetensors");
    const Outcome outcome = run_mlkd(with_resume(arguments));
    REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
    CHECK(difference(run, whole) == "");
    SafetensorsFile later = read_safetensors(run + "/last.safetensors");
    later.metadata["checkpoint_format"] = "3";
    write_safetensors(run + "/last.safetensors", later);
    const Outcome refused = run_mlkd(with_resume(arguments));
    CHECK(refused.exit_code != 0);
    CHECK(refused.err.find("format 3") != std::string::npos);
}
