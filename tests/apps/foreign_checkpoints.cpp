// Checkpoints that are not what the command expects: not finite, of another program, of other data.
#include <fmt/format.h>

#include <limits>

#include "apps/train/checkpoint.h"
#include "data/readers/load.h"
#include "tests/apps/failures.h"

using namespace mlkd;
using namespace mlkd::test;

namespace fs = std::filesystem;

TEST_CASE("checkpoints that are not finite are named with their tensor, wherever they are loaded") {
    const TemporaryFolder folder;
    const std::string file = folder / "changed.safetensors", run = folder / "run", out = folder / "out";
    const auto check_everywhere = [&](const std::vector<std::string>& texts) {
        check_failure(eval_arguments(file), non_finite, texts);
        check_failure(distil_arguments(run, "kd", {"distiller.teacher_checkpoint=" + file}), non_finite, texts);
        for (const auto& [teacher, student] : {std::pair{file, good_checkpoint()}, {good_checkpoint(), file}})
            check_failure({"figures", "--device", "cpu", "--threads", "2", "--teacher", teacher, "--student", "S=" + student, "--data",
                           tiny_data, "--out", out},
                          non_finite, texts);
        CHECK(!fs::exists(out));
        CHECK(files_with(run, "safetensors").empty());
    };
    changed(file, [](SafetensorsFile& f) {
        f.tensors.at("layer1.0.conv1.weight").as<float>()[7] = std::numeric_limits<float>::quiet_NaN();
        f.tensors.at("fc.weight").as<float>()[0] = -std::numeric_limits<float>::infinity();
        f.tensors.at("fc.weight").as<float>()[2] = std::numeric_limits<float>::infinity();
    });
    check_everywhere({file, "'fc.weight'", "2 of its 256 values", "2 such tensors"});
    changed(file, [](SafetensorsFile& f) { f.tensors.at("bn1.running_var").as<float>()[3] = std::numeric_limits<float>::infinity(); });
    check_everywhere({file, "'bn1.running_var'", "1 of its 16 values"});
    // Finite weights whose logits overflow.
    changed(file, [](SafetensorsFile& f) {
        for (float& weight : f.tensors.at("fc.weight").as<float>()) weight = weight < 0 ? -3e38f : 3e38f;
    });
    check_everywhere({file, "not finite", "weights are finite", "synthetic"});

    const std::string resumed = folder / "resumed";
    fs::copy(teacher_run(), resumed);
    SafetensorsFile last = read_safetensors(resumed + "/last.safetensors");
    last.tensors.at("optimizer.momentum.fc.bias").as<float>()[1] = std::numeric_limits<float>::quiet_NaN();
    write_safetensors(resumed + "/last.safetensors", last);
    check_failure(train_arguments(resumed, {"--resume"}), non_finite,
                  {resumed + "/last.safetensors", "'optimizer.momentum.fc.bias'", "1 of its 4 values"});
    // Evaluation reads the weights alone, which are finite.
    CHECK(run_mlkd(eval_arguments(resumed + "/last.safetensors")).exit_code == 0);
}

TEST_CASE("files of other programs are recognised, with what to do") {
    const TemporaryFolder folder;
    const std::string file = folder / "teacher.pth";
    const auto check_file = [&](const std::string& bytes, const std::vector<std::string>& texts) {
        write_bytes(file, bytes);
        std::vector<std::string> all = texts;
        all.push_back(file);
        check_failure(eval_arguments(file), runtime_error, all);
        check_failure(distil_arguments(folder / "run", "kd", {"distiller.teacher_checkpoint=" + file}), runtime_error, all);
    };
    check_file("PK\x03\x04" + std::string(22, '\0') + "\x10" + std::string(3, '\0') + "archive/data.pkl" + std::string(900, 'x'),
               {"PyTorch checkpoint (zip)", "python3 -c"});
    check_file("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19." + std::string(900, 'x'),
               {"PyTorch checkpoint (pickle)", "python3 -c"});
}

TEST_CASE("a checkpoint of other data with as many classes is said") {
    const TemporaryFolder folder;
    const std::string file = changed(folder / "other.safetensors", [](SafetensorsFile& f) { f.metadata["dataset"] = "cifar4"; });
    const std::vector<std::string> both = {"warning", file, "cifar4", "synthetic"};
    const auto check_said = [&](const Arguments& arguments, bool expected) {
        const Outcome outcome = run_mlkd(arguments);
        CHECK_MESSAGE(outcome.exit_code == 0, outcome.err);
        CHECK(outcome.err.empty() != expected);
        for (const std::string& text : both) CHECK((outcome.err.find(text) != std::string::npos) == expected);
    };
    check_said(eval_arguments(file), true);
    check_said(eval_arguments(good_checkpoint()), false);
    check_said(distil_arguments(folder / "run", "kd", {"distiller.teacher_checkpoint=" + file, "solver.epochs=1"}), true);
    changed(file, [](SafetensorsFile& f) { f.metadata.erase("dataset"); });
    check_said(eval_arguments(file), false);
}

TEST_CASE("a run continues on the data it began with, wherever they lie") {
    CheckpointInfo saved, now;
    saved.dataset = now.dataset = "fashion-mnist";
    saved.train_images = now.train_images = 60000;
    saved.classes = now.classes = 10;
    saved.dataset_crc = now.dataset_crc = "0123abcd";
    CHECK(same_data(saved, now));
    now.dataset = "another name";
    CHECK(same_data(saved, now));
    now.dataset_crc = "0123abce";
    CHECK(!same_data(saved, now));
    // Earlier versions named an IDX set by its folder, and saved no checksum.
    saved.dataset_crc.clear();
    for (const char* before : {"idx", "fashion-mnist"})
        for (const char* found : {"idx", "mnist", "fashion-mnist"}) {
            saved.dataset = before, now.dataset = found;
            CHECK(same_data(saved, now));
            CHECK(!other_data(saved, found));
        }
    now.dataset = "cifar10";
    CHECK(!same_data(saved, now));
    CHECK(other_data(saved, "cifar10"));
    saved.dataset = "cifar10";
    CHECK(same_data(saved, now));
    now.train_images = 59999;
    CHECK(!same_data(saved, now));

    const TemporaryFolder folder;
    const std::string run = folder / "run";
    fs::copy(teacher_run(), run);
    SafetensorsFile file = read_safetensors(run + "/last.safetensors");
    CHECK(file.meta("dataset_crc32") == fmt::format("{:08x}", content_crc(load_dataset(tiny_data, Split::train))));
    file.metadata.erase("dataset_crc32");
    write_safetensors(run + "/last.safetensors", file);
    const Outcome resumed = run_mlkd(train_arguments(run, {"--resume"}));
    CHECK_MESSAGE(resumed.exit_code == 0, resumed.err);
    file.metadata["dataset_crc32"] = "00000000";
    write_safetensors(run + "/last.safetensors", file);
    check_failure(train_arguments(run, {"--resume"}), usage, {run, "other data"});
}

TEST_CASE("a batch larger than the test set is the test set") {
    const Outcome outcome = run_mlkd(eval_arguments(good_checkpoint(), tiny_data, {"--batch-size", "65536"}));
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out == run_mlkd(eval_arguments(good_checkpoint(), tiny_data, {"--batch-size", "200"})).out);
    CHECK(outcome.peak_bytes < (std::int64_t{1} << 30));  // images of 65536 would take 9 GiB
}
