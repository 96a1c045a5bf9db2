// A run goes on under a configuration that differs where the past is not concerned; else each key is named.
#include <doctest/doctest.h>

#include "apps/train/resume_check.h"
#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

std::string copy_of_teacher_run(const TemporaryFolder& folder) {
    fs::copy(teacher_run(), folder / "run");
    return folder / "run";
}

// What a program wrote that knew neither settings nor teachers in checkpoints.
void make_old(const std::string& path) {
    SafetensorsFile file = read_safetensors(path);
    file.metadata.erase("settings");
    file.metadata.erase("teacher");
    write_safetensors(path, file);
}

void check_refused(const std::string& run, const Arguments& more, const std::vector<std::string>& texts) {
    Arguments all{"--resume"};
    all.insert(all.end(), more.begin(), more.end());
    const std::string before = read_bytes(run + "/last.safetensors");
    const Outcome outcome = run_mlkd(train_arguments(run, all));
    CHECK(outcome.exit_code == 2);
    CHECK_MESSAGE(is_one_line(outcome.err), outcome.err);
    for (const std::string& text : texts) CHECK_MESSAGE(outcome.err.find(text) != std::string::npos, outcome.err, " lacks ", text);
    CHECK(read_bytes(run + "/last.safetensors") == before);
}

}  // namespace

TEST_CASE("going on: a finished run is prolonged, with later decay stages, to the bits of one that was meant so") {
    const Arguments longer{"solver.epochs=6", "solver.lr_decay_stages=[2, 5]"};
    for (const bool old : {false, true}) {
        INFO(old);
        const TemporaryFolder folder;
        const std::string run = copy_of_teacher_run(folder);
        if (old) make_old(run + "/last.safetensors");
        Arguments more = longer;
        more.insert(more.end(), {"--resume", "dataset.num_workers=2", "experiment.name=longer", "log.save_checkpoint_freq=5"});
        const Outcome outcome = run_mlkd(train_arguments(run, more));
        REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
        CHECK(outcome.out.find("solver.epochs was 4, is 6") != std::string::npos);
        const std::string whole = folder_with_plans_of(run, folder / "whole");
        REQUIRE(run_mlkd(train_arguments(whole, longer)).exit_code == 0);
        CHECK(without_times(metrics_of(run)) == without_times(metrics_of(whole)));
        const SafetensorsFile a = read_safetensors(run + "/last.safetensors"), b = read_safetensors(whole + "/last.safetensors");
        CHECK(a.metadata == b.metadata);
        CHECK(a.tensor("fc.weight").bytes == b.tensor("fc.weight").bytes);
        CHECK(a.tensor("optimizer.momentum.conv1.weight").bytes == b.tensor("optimizer.momentum.conv1.weight").bytes);
        CHECK(fs::exists(run + "/student_5.safetensors"));
        CHECK(nlohmann::json::parse(read_bytes(run + "/config.json"))["solver"]["epochs"] == 6);
    }
}

TEST_CASE("going on: a prolonged run that is killed before its next checkpoint still goes on, also one of an older program") {
    for (const bool old : {false, true}) {
        INFO(old);
        const TemporaryFolder folder;
        const std::string run = copy_of_teacher_run(folder);
        if (old) make_old(run + "/last.safetensors");
        const Arguments longer = train_arguments(run, {"--resume", "solver.epochs=5"});
        Process process(command(longer));
        REQUIRE(process.wait_for_output("\nrun "));
        process.send(SIGKILL);
        process.wait();
        const Outcome outcome = run_mlkd(longer);
        REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
        CHECK(metrics_of(run).size() == 5);
    }
}

TEST_CASE("going on: what would change the past is refused, each key with both values") {
    for (const bool old : {false, true}) {
        INFO(old);
        const TemporaryFolder folder;
        const std::string run = copy_of_teacher_run(folder);
        if (old) make_old(run + "/last.safetensors");
        check_refused(run, {"solver.lr=0.2", "solver.batch_size=16", "solver.epochs=9"},
                      {"solver.lr was 0.05, is 0.2", "solver.batch_size was 32, is 16"});
        check_refused(run, {"solver.lr_decay_stages=[3]", "solver.epochs=9"}, {"solver.lr_decay_stages was [2], is [3]"});
        check_refused(run, {"solver.lr_decay_rate=0.5"}, {"solver.lr_decay_rate was 0.1, is 0.5"});
        check_refused(run, {"solver.epochs=3"}, {"solver.epochs was 4, is 3"});
        check_refused(run, {"dataset.test.images=9"}, {"dataset.test.images was 0, is 9"});
        check_refused(run, {"--seed", "1"}, {"solver.seed was 0, is 1"});
        check_refused(run, {"distiller.student=resnet14"}, {"distiller.student was \"resnet8\", is \"resnet14\""});
        check_refused(run, {"--deterministic"}, {"deterministic was false, is true"});
        const Outcome same = run_mlkd(train_arguments(run, {"--resume", "dataset.test.batch_size=50", "solver.type=sgd"}));
        CHECK_MESSAGE(same.exit_code == 0, same.err);
    }
    // An older program's checkpoint whose config.json is gone: nobody knows the old values.
    const TemporaryFolder folder;
    const std::string run = copy_of_teacher_run(folder);
    make_old(run + "/last.safetensors");
    fs::remove(run + "/config.json");
    check_refused(run, {"solver.epochs=9"}, {"another configuration", run + "/config.json"});
    CHECK(run_mlkd(train_arguments(run, {"--resume"})).exit_code == 0);
}

TEST_CASE("going on: the teacher may have moved, but not have been exchanged") {
    const TemporaryFolder folder;
    const std::string run = folder / "run", moved = folder / "moved.safetensors";
    fs::copy(mlkd_run(), run);
    fs::copy_file(teacher_run() + "/best.safetensors", moved);  // the same weights in another file
    const auto resume_with = [&](const std::string& teacher) {
        return run_mlkd(distil_arguments(run, "mlkd", {"--resume", "distiller.teacher_checkpoint=" + teacher}));
    };
    const Outcome same = resume_with(moved);
    CHECK_MESSAGE(same.exit_code == 0, same.err);
    SafetensorsFile file = read_safetensors(moved);
    file.tensors.at("fc.bias").as<float>()[1] += 0.001f;
    write_safetensors(moved, file);
    const Outcome other = resume_with(moved);
    CHECK(other.exit_code == 2);
    CHECK(is_one_line(other.err));
    CHECK(other.err.find(moved) != std::string::npos);
}

TEST_CASE("going on: a run that was resumed with other threads says to its end that its command gives close results only") {
    const TemporaryFolder folder;
    const std::string run = folder / "run", close = "that gives close results, not the same bits";
    const Outcome before = run_mlkd(train_arguments(run, {"solver.epochs=1"}));
    CHECK(before.out.find(close) == std::string::npos);
    const auto resume = [&](const std::string& epochs, const std::string& threads) {
        Arguments arguments = train_arguments(run, {"--resume", "solver.epochs=" + epochs});
        *std::next(std::find(arguments.begin(), arguments.end(), "--threads")) = threads;
        return run_mlkd(arguments);
    };
    CHECK(resume("2", "2").out.find(close) == std::string::npos);
    CHECK(resume("3", "1").out.find(close) != std::string::npos);
    CHECK(resume("4", "1").out.find(close) != std::string::npos);  // the checkpoint knows
}

TEST_CASE("going on: what is computed otherwise from now on is said") {
    Config before, now;
    CheckpointInfo saved;
    saved.threads = 2;
    saved.precision = "fp32";
    CheckpointInfo current = saved;
    const auto warnings = [&](DeviceKind device) { return resume_warnings(saved, current, before, now, device).size(); };
    CHECK(warnings(DeviceKind::cuda) == 0);
    current.threads = 3;
    CHECK(warnings(DeviceKind::cpu) == 1);
    current.precision = "tf32";
    CHECK(warnings(DeviceKind::cpu) == 2);
    saved.precision = "";  // an old checkpoint
    CHECK(warnings(DeviceKind::cpu) == 1);
    now.products = "tf32";
    now.nondeterministic = true;
    CHECK(warnings(DeviceKind::cpu) == 1);  // a GPU's
    CHECK(warnings(DeviceKind::cuda) == 3);
}
