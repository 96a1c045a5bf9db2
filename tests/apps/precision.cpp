// --precision as a user meets it: whole runs in bfloat16 on a CPU, and what is refused.
#include <doctest/doctest.h>

#include <chrono>
#include <thread>

#include "apps/config/config.h"
#include "engine/backend.h"
#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

bool lacks_bfloat16() {
    const std::string obstacle = cpu_bfloat16_obstacle();
    if (!obstacle.empty()) MESSAGE("skipped: ", obstacle);
    return !obstacle.empty();
}

Arguments and_more(Arguments arguments, const Arguments& more) {
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
}

Arguments in_bf16(const std::string& run) { return distil_arguments(run, "mlkd", {"--precision", "bf16"}); }

}  // namespace

TEST_CASE("precision bf16: a run distils, repeats from a stop within an epoch bit for bit, and is evaluated in either precision") {
    if (lacks_bfloat16()) return;
    const TemporaryFolder folder;
    const std::string whole = folder / "whole";
    const Outcome outcome = run_mlkd(in_bf16(whole));
    REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
    const Metrics metrics = metrics_of(whole), single = metrics_of(mlkd_run());
    REQUIRE(metrics.size() == tiny_epochs);
    const auto loss = [](const Metrics& of, std::size_t epoch) { return of[epoch]["loss_total"].get<double>(); };
    CHECK(loss(metrics, tiny_epochs - 1) < 0.95 * loss(metrics, 0));
    CHECK(loss(metrics, tiny_epochs - 1) == doctest::Approx(loss(single, tiny_epochs - 1)).epsilon(0.05));
    CHECK(loss(metrics, 0) != loss(single, 0));
    CHECK(read_safetensors(whole + "/last.safetensors").metadata.at("precision") == "bf16");
    CHECK(read_safetensors(mlkd_run() + "/last.safetensors").metadata.at("precision") == "fp32");
    for (const auto& [name, tensor] : read_safetensors(whole + "/student_last.safetensors").tensors)
        CHECK((tensor.dtype == DType::f32 || name.ends_with(".num_batches_tracked")));

    const std::string run = folder_with_plans_of(whole, folder / "run");
    const Arguments resumed = and_more(in_bf16(run), {"--resume"});
    Process process(command(resumed));
    REQUIRE(process.wait_for_output("\nrun "));
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
    process.send(SIGTERM);
    CHECK(process.wait().exit_code == 143);
    // Another precision is another run.
    const Outcome other = run_mlkd(distil_arguments(run, "mlkd", {"--resume"}));
    CHECK(other.exit_code == 2);
    CHECK(other.err.find("another configuration") != std::string::npos);
    CHECK(is_one_line(other.err));
    const Outcome last = run_mlkd(resumed);
    REQUIRE_MESSAGE(last.exit_code == 0, last.err);
    CHECK(difference(run, whole) == "");

    const Arguments eval{"eval", "--device", "cpu", "--threads", "2", "--data", tiny_data, "--checkpoint", whole + "/student_last.safetensors"};
    const Outcome rounded = run_mlkd(and_more(eval, {"--precision", "bf16"})), exact = run_mlkd(and_more(eval, {"--precision", "fp32"}));
    REQUIRE_MESSAGE(rounded.exit_code == 0, rounded.err);
    REQUIRE_MESSAGE(exact.exit_code == 0, exact.err);
    CHECK(accuracy_in(rounded.out) == doctest::Approx(metrics.back()["test_top1"].get<double>()).epsilon(1e-4));
    CHECK(std::abs(accuracy_in(rounded.out) - accuracy_in(exact.out)) < 5);
    CHECK(rounded.out != exact.out);
}

TEST_CASE("precision: what a CPU cannot do is one line") {
    const Arguments eval{"eval", "--threads", "2", "--data", tiny_data, "--checkpoint", teacher_run() + "/student_last.safetensors"};
    const Outcome tf32 = run_mlkd(and_more(eval, {"--device", "cpu", "--precision", "tf32"}));
    CHECK(tf32.exit_code == 2);
    CHECK(is_one_line(tf32.err));
    CHECK(tf32.err.find("tf32 is a GPU's; use fp32, bf16 or auto") != std::string::npos);
    const Outcome unknown = run_mlkd(and_more(eval, {"--precision", "fp16"}));
    CHECK(unknown.exit_code == 2);
    CHECK(is_one_line(unknown.err));

    // oneDNN is told to see an older processor.
    Arguments old = command(and_more(eval, {"--device", "cpu", "--precision", "bf16"}));
    old.insert(old.begin(), {"env", "ONEDNN_MAX_CPU_ISA=AVX2"});
    const Outcome refused = Process(old).wait();
    CHECK(refused.exit_code == 1);
    CHECK(is_one_line(refused.err));
    CHECK(refused.err.find("no AVX-512") != std::string::npos);
}

TEST_CASE("precision: with the device auto and no GPU, tf32 falls back to fp32 and says so") {
    std::string why;
    if (make_cuda_backend({}, why) != nullptr) return;  // there is a GPU to take
    const Outcome outcome = run_mlkd({"eval", "--threads", "2", "--data", tiny_data, "--checkpoint",
                                      teacher_run() + "/student_last.safetensors", "--precision", "tf32"});
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.err == "mlkd: precision tf32 is a GPU's: the CPU computes in fp32\n");
}

TEST_CASE("precision: bf16 is another configuration, fp32 in place of tf32 is not") {
    const auto hash = [](const std::string& precision) { return config_hash(load_config("", {"precision=" + precision})); };
    CHECK(hash("bf16") != hash("auto"));
    CHECK(hash("fp32") == hash("auto"));
    CHECK(hash("tf32") == hash("auto"));
    CHECK_THROWS_WITH(load_config("", {"precision=fp16"}), doctest::Contains("allowed: auto, fp32, tf32 or bf16"));
}
