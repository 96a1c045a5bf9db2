// What a run leaves: files that load here, in the official library and in PyTorch, and give the accuracy of the metrics.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include "apps/evaluate/evaluation.h"
#include "apps/train/checkpoint.h"
#include "data/readers/load.h"
#include "tests/apps/tiny_runs.h"
#include "tests/support/python.h"
#include "tests/support/sources.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

const fs::path root = test::sources();

}  // namespace

TEST_CASE("checkpoints: all four evaluate to what the metrics say, every image once") {
    const Metrics metrics = metrics_of(teacher_run());
    double best = 0;
    for (const auto& line : metrics) best = std::max(best, line["test_top1"].get<double>());
    const double last = metrics.back()["test_top1"].get<double>();
    const std::pair<const char*, double> expected[] = {{"last", last}, {"student_last", last}, {"best", best}, {"student_best", best}};
    for (const auto& [name, top1] : expected) {
        INFO(name);
        const Outcome outcome = run_mlkd({"eval", "--device", "cpu", "--threads", "2", "--checkpoint",
                                          teacher_run() + "/" + name + ".safetensors", "--data", tiny_data});
        CHECK(outcome.exit_code == 0);
        // Convolutions may be computed another way than in training: an image on the edge may fall to the other side.
        CHECK(std::abs(accuracy_in(outcome.out) - top1) <= 0.51);
        CHECK(outcome.out.find("over 200 images") != std::string::npos);
        CHECK(outcome.out.find(" Acc@5 100.000") != std::string::npos);  // of four classes
    }
    // 200 is no multiple of either.
    for (const char* batch : {"7", "128", "1000"}) {
        INFO(batch);
        const Outcome outcome = run_mlkd({"eval", "--device", "cpu", "--threads", "2", "--batch-size", batch, "--checkpoint",
                                          teacher_run() + "/student_last.safetensors", "--data", tiny_data});
        CHECK(outcome.out.find("over 200 images") != std::string::npos);
        CHECK(std::abs(accuracy_in(outcome.out) - last) <= 0.51);
    }
}

TEST_CASE("checkpoints: a full one holds the weights of the other and the state of the run") {
    const SafetensorsFile last = read_safetensors(teacher_run() + "/last.safetensors");
    const SafetensorsFile student = read_safetensors(teacher_run() + "/student_last.safetensors");
    std::size_t momenta = 0;
    for (const auto& [name, tensor] : student.tensors) {
        INFO(name);
        REQUIRE(last.tensors.contains(name));
        CHECK(last.tensor(name).bytes == tensor.bytes);
    }
    std::size_t numbers = 0;
    for (const auto& [name, tensor] : last.tensors) {
        momenta += name.starts_with("optimizer.momentum.");
        numbers += name.starts_with("progress.");
    }
    CHECK(last.tensors.size() == student.tensors.size() + momenta + numbers);
    CHECK(last.tensor("progress.epoch").as<double>()[0] == 5);
    CHECK(last.tensors.contains("progress.loss.ce"));
    CHECK(last.tensors.contains("progress.loss.total"));
    CHECK(last.meta("checkpoint_format") == "2");
    CHECK(student.meta("model") == "resnet8");
    CHECK(student.meta("classes") == "4");
    CHECK(student.meta("epoch") == "4");
    CHECK(student.tensor("conv1.weight").shape == std::vector<std::int64_t>{16, 3, 3, 3});
    CHECK(student.tensor("fc.weight").shape == std::vector<std::int64_t>{4, 64});
}

TEST_CASE("checkpoints: log.save_checkpoint_freq keeps the student of every second epoch") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(teacher_run(), folder / "run");
    REQUIRE(run_mlkd(train_arguments(run, {"log.save_checkpoint_freq=2"})).exit_code == 0);
    CHECK(files_with(run, "student_").size() == 4);
    CHECK(read_bytes(run + "/student_4.safetensors") == read_bytes(run + "/student_last.safetensors"));
    CHECK(read_safetensors(run + "/student_2.safetensors").meta("epoch") == "2");
    CHECK(difference(run, teacher_run()) == "");
    // Another run in its place leaves none of them.
    REQUIRE(run_mlkd(train_arguments(run, {"--overwrite", "solver.epochs=1"})).exit_code == 0);
    CHECK(files_with(run, "student_").size() == 2);
    CHECK(metrics_of(run).size() == 1);
}

TEST_CASE("checkpoints: the official library finds PyTorch's names and shapes") {
    const std::string python = (root / ".venv/bin/python").string();
    if (!python_has(python, "safetensors")) {
        MESSAGE("skipped: no safetensors in " << python);
        return;
    }
    const Outcome outcome = Process({python, (root / "tests/python/check_checkpoint.py").string(), teacher_run()}).wait();
    CHECK_MESSAGE(outcome.exit_code == 0, outcome.err);
}

TEST_CASE("checkpoints: PyTorch computes the same logits from one") {
    const std::string python = "/usr/bin/python3";
    if (!python_has(python, "torch")) {
        MESSAGE("skipped: no torch in " << python);
        return;
    }
    const TemporaryFolder folder;
    const std::string checkpoint = teacher_run() + "/student_best.safetensors";
    const auto backend = make_cpu_backend({2, "direct", ""});
    Dataset data = load_dataset(tiny_data, Split::test);
    data.keep_first(20);
    StepArena arena(*backend);
    const auto network = load_network(*backend, checkpoint, "", Role::frozen);
    const std::vector<float> logits = evaluate_logits(*backend, arena, *network, data, 16, checkpoint);
    const std::vector<float> table = normalisation_table(data);  // (3, 256)
    std::vector<float> images(data.images.size());
    for (std::size_t i = 0; i < images.size(); ++i) images[i] = table[i % 3 * 256 + data.images[i]];
    SafetensorsFile file;
    file.tensors["images"] = HostTensor::of<float>({20, 32, 32, 3}, std::span<const float>(images));
    file.tensors["logits"] = HostTensor::of<float>({20, 4}, std::span<const float>(logits));
    write_safetensors(folder / "case.safetensors", file);
    const Outcome outcome =
        Process({python, (root / "tests/python/check_pytorch_eval.py").string(), checkpoint, folder / "case.safetensors"}).wait();
    CHECK_MESSAGE(outcome.exit_code == 0, outcome.out, outcome.err);
}
