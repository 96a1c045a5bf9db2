// Whatever is wrong with what the program is given: one line that says what and where, the right exit code, and nothing
// lost or half written. The parsers have their own unit tests; here are representatives, through the program.
#include <doctest/doctest.h>

#include <cstdint>

#include "tests/apps/failures.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

// A CIFAR-100 archive's size, all black, all of class 0.
void write_cifar100(const std::string& folder, std::size_t train = 50000, std::size_t test = 10000) {
    constexpr std::size_t record = 3074;
    fs::create_directories(folder);
    for (const auto& [name, records] : {std::pair<const char*, std::size_t>{"train.bin", train}, {"test.bin", test}}) {
        write_bytes(folder + "/" + name, "");
        fs::resize_file(folder + "/" + name, record * records);
    }
}

void overwrite_byte(const std::string& path, std::size_t at, char byte) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
}

}  // namespace

TEST_CASE("bad input: commands and options") {
    check_failure({}, usage, {"subcommand"});
    check_failure({"trian"}, usage, {"unknown command 'trian'", "'train'"});
    check_failure({"train", "--bogus"}, usage, {"--bogus"});
    check_failure({"eval"}, usage, {"--checkpoint"});
    check_failure(eval_arguments("x", tiny_data, {"--batch-size", "0"}), usage, {"--batch-size", "0"});
    check_failure({"eval", "--checkpoint", "x", "--data", tiny_data, "--threads", "-1"}, usage, {"threads"});
    check_failure({"eval", "--checkpoint", "x", "--data", tiny_data, "--threads", "100000"}, usage, {"threads", "100000"});
    check_failure({"eval", "--checkpoint", "x", "--data", tiny_data, "--threads", "many"}, usage, {"--threads", "many"});
    check_failure({"eval", "--checkpoint", "x", "--data", tiny_data, "--device", "tpu"}, usage, {"'tpu'"});
    check_failure({"models", "--classes", "1"}, usage, {"classes"});
    check_failure(eval_arguments(good_checkpoint(), "synthetic:0"), usage, {"synthetic:0"});
}

TEST_CASE("bad input: configurations") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    const auto with = [&](const std::string& setting) { return train_arguments(run, {setting}); };
    check_failure(with("solver.lrr=0.1"), usage, {"solver.lrr", "solver.lr"});
    check_failure(with("solver.lr=fast"), usage, {"solver.lr", "fast"});
    check_failure(with("solver.lr=-1"), usage, {"solver.lr", "-1"});
    check_failure(with("solver.lr=NaN"), usage, {"solver.lr"});
    check_failure(with("solver.batch_size=0"), usage, {"solver.batch_size", "0"});
    check_failure(with("solver.epochs=1.5"), usage, {"solver.epochs", "1.5"});
    check_failure(with("solver.lr_decay_stages=[]"), usage, {"solver.lr_decay_stages"});
    check_failure(with("kd.temperature=0"), usage, {"kd.temperature", "0"});
    check_failure(with("mlkd.temperatures=[]"), usage, {"mlkd.temperatures"});
    check_failure(with("mlkd.temperatures=[4, 0]"), usage, {"mlkd.temperatures"});
    check_failure(with("distiller.student=resnt8"), usage, {"resnt8", "resnet8"});
    check_failure(with("distiller.type=magic"), usage, {"magic"});
    check_failure(with("surplus"), usage, {"surplus"});
    check_failure({"train", "--config", folder / "none.json"}, usage, {"none.json"});
    write_bytes(folder / "broken.json", "{\"solver\": {\n  \"lr\": 0.1,,\n}}");
    check_failure({"train", "--config", folder / "broken.json"}, usage, {"broken.json:2:"});
    write_bytes(folder / "unknown.json", "{\"solver\": {\n  \"lr\": 0.1,\n  \"epoch\": 3}}");
    check_failure({"train", "--config", folder / "unknown.json"}, usage, {"unknown.json:3", "solver.epoch", "solver.epochs"});
    check_failure({"train", "--output", run, "distiller.student=resnet8"}, usage, {"dataset.path"});
    check_failure(with("distiller.type=kd"), usage, {"distiller.teacher"});
    check_failure(train_arguments(run, {"distiller.type=kd", "distiller.teacher=resnet8"}), usage, {"distiller.teacher_checkpoint"});
    // Nothing is made for a run whose configuration is wrong.
    CHECK(!fs::exists(run));
}

TEST_CASE("bad input: data files") {
    const TemporaryFolder folder;
    const std::string run = folder / "runs/of/today", data = folder / "data";
    const auto train_on = [&](const std::string& where) { return train_arguments(run, {"dataset.path=" + where}); };
    const auto check_data = [&](const std::vector<std::string>& texts) {
        check_failure(train_on(data), runtime_error, texts);
        CHECK(!fs::exists(folder / "runs"));  // no trace
    };
    check_data({data, "no folder"});
    fs::create_directories(data);
    check_data({data, "no data set"});
    write_cifar100(data);
    fs::resize_file(data + "/train.bin", 0);
    check_data({"train.bin", "empty"});
    write_cifar100(data, 49999);
    check_data({"train.bin", "truncated"});
    write_cifar100(data, 50000, 10001);
    check_data({"test.bin", "too long"});
    write_cifar100(data);
    overwrite_byte(data + "/train.bin", 3074 * 41 + 1, 100);
    check_data({"train.bin", "record 41", "label 100"});
    fs::remove(data + "/train.bin");
    check_data({"train.bin"});
    fs::remove_all(data);
    fs::create_directories(data);
    write_bytes(data + "/t10k-images-idx3-ubyte", "this is no IDX file");
    write_bytes(data + "/t10k-labels-idx1-ubyte", "nor is this");
    check_data({"t10k-images-idx3-ubyte", "not an IDX file"});
    check_failure(train_arguments(run, {"dataset.type=cifar100"}), runtime_error, {"synthetic", "cifar100"});
}

TEST_CASE("bad input: checkpoints") {
    const TemporaryFolder folder;
    const std::string file = folder / "changed.safetensors";
    const auto check_file = [&](const std::vector<std::string>& texts) {
        std::vector<std::string> all = texts;
        all.push_back(file);
        check_failure(eval_arguments(file), runtime_error, all);
    };
    const std::string bytes = read_bytes(good_checkpoint());
    check_file({"No such file"});
    write_bytes(file, "");
    check_file({"empty"});
    write_bytes(file, bytes.substr(0, bytes.size() - 100));
    check_file({"truncated"});
    write_bytes(file, bytes + "surplus!");
    check_file({});
    write_bytes(file, "PK\x03\x04 an archive of another program, longer than a header's length");
    check_file({});
    std::string damaged = bytes;
    damaged[8] = '?';
    write_bytes(file, damaged);
    check_file({"header"});
    damaged = bytes;
    damaged[7] = '\x7f';  // a header of 2^62 bytes
    write_bytes(file, damaged);
    check_file({});
    changed(file, [](SafetensorsFile& f) { f.tensors.erase("layer2.0.conv1.weight"); });
    check_file({"layer2.0.conv1.weight"});
    changed(file, [](SafetensorsFile& f) { f.tensors["fc.bias"] = HostTensor::zeros(DType::f32, {5}); });
    check_file({"fc.bias"});
    changed(file, [](SafetensorsFile& f) { f.tensors["surplus.weight"] = HostTensor::zeros(DType::f32, {5}); });
    check_file({"surplus.weight"});
    changed(file, [](SafetensorsFile& f) { f.metadata["model"] = "resnet20"; });
    check_file({"layer1.1."});
    changed(file, [](SafetensorsFile& f) { f.metadata["classes"] = "5"; });
    check_file({"fc."});
    changed(file, [](SafetensorsFile& f) { f.metadata.clear(); });
    check_file({"--model"});
    check_failure(eval_arguments(file, tiny_data, {"--model", "resnet14"}), runtime_error, {file, "layer1.1."});
    check_failure(eval_arguments(file, tiny_data, {"--model", "resnt8"}), usage, {"resnt8", "did you mean 'resnet8'?"});
    CHECK(run_mlkd(eval_arguments(file, tiny_data, {"--model", "resnet8"})).exit_code == 0);
    for (const char* classes : {"-3", "0x", "1", "2000000000"}) {
        changed(file, [&](SafetensorsFile& f) { f.metadata["classes"] = classes; });
        const Outcome outcome = run_mlkd(eval_arguments(file));
        INFO(outcome.err);
        CHECK(outcome.signal == 0);
        CHECK((outcome.exit_code == 0 || is_one_line(outcome.err)));
    }
    check_failure(eval_arguments(good_checkpoint(), tiny_data, {"--model", "resnet20"}), runtime_error, {"resnet8", "resnet20"});
    check_failure(eval_arguments(good_checkpoint(), "synthetic:10:5"), runtime_error, {good_checkpoint(), "4 classes", "5"});
    check_failure(eval_arguments(folder.path()), runtime_error, {"folder"});
}

TEST_CASE("bad input: teachers") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    const auto with = [&](const Arguments& more) { return distil_arguments(run, "kd", more); };
    check_failure(with({"distiller.teacher_checkpoint=" + (folder / "none")}), runtime_error, {folder / "none", "No such file"});
    check_failure(with({"distiller.teacher=resnet20"}), runtime_error, {"resnet8", "resnet20"});
    check_failure(with({"dataset.path=synthetic:50:7"}), runtime_error, {"teacher", "4 classes", "7"});
    write_bytes(folder / "short", read_bytes(good_checkpoint()).substr(0, 1000));
    check_failure(with({"distiller.teacher_checkpoint=" + (folder / "short")}), runtime_error, {folder / "short"});
    CHECK(!fs::exists(run + "/last.safetensors"));
}

TEST_CASE("bad input: output folders, and runs that are there already") {
    const TemporaryFolder folder;
    write_bytes(folder / "file", "in the way");
    check_failure(train_arguments(folder / "file"), runtime_error, {folder / "file", "--output"});
    check_failure(train_arguments(folder / "file/run"), runtime_error, {folder / "file/run"});
    check_failure(train_arguments("/proc/mlkd"), runtime_error, {"/proc/mlkd"});
    CHECK(read_bytes(folder / "file") == "in the way");

    const std::string run = folder / "run";
    fs::copy(teacher_run(), run);
    const auto everything = [&] {
        std::string all;
        for (const char* name : {"last.safetensors", "best.safetensors", "student_last.safetensors", "student_best.safetensors",
                                 "metrics.jsonl", "config.json", "convolution_plans.json"})
            all += read_bytes(run + "/" + name);
        return all;
    };
    const std::string before = everything();
    check_failure(train_arguments(run), runtime_error, {run, "--resume", "--overwrite"});
    check_failure(train_arguments(run, {"--resume", "solver.lr=0.2"}), usage, {run, "configuration"});
    check_failure(train_arguments(run, {"--resume", "dataset.path=synthetic:200:5"}), usage, {run, "other data", "4 classes"});
    check_failure(train_arguments(run, {"--resume", "dataset.path=synthetic:201:4"}), usage, {run, "other data", "200 images"});
    // The old run goes only when the new one can start.
    check_failure(train_arguments(run, {"--overwrite", "dataset.path=" + (folder / "none")}), runtime_error, {folder / "none"});
    check_failure(distil_arguments(run, "kd", {"--overwrite", "distiller.teacher_checkpoint=" + (folder / "none")}), runtime_error,
                  {folder / "none"});
    CHECK(everything() == before);
    // Only a full checkpoint can be resumed; a damaged one is left for its owner to look at.
    fs::copy_file(run + "/student_last.safetensors", run + "/last.safetensors", fs::copy_options::overwrite_existing);
    check_failure(train_arguments(run, {"--resume"}), runtime_error, {"last.safetensors", "weights only"});
    write_bytes(run + "/last.safetensors", "damaged");
    check_failure(train_arguments(run, {"--resume"}), runtime_error, {"last.safetensors"});
    CHECK(read_bytes(run + "/last.safetensors") == "damaged");
    CHECK(read_bytes(run + "/metrics.jsonl") == read_bytes(teacher_run() + "/metrics.jsonl"));
}

TEST_CASE("bad input: a loss that is not finite stops the run, which keeps its last good checkpoint") {
    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(teacher_run(), folder / "run");
    check_failure(train_arguments(run, {"solver.lr=1e30"}), non_finite, {"'ce'", "epoch 1, step 2", "nothing is saved"});
    CHECK(files_with(run, "safetensors").empty());
    // A network that is broken by its last step, with a finite loss: one batch.
    check_failure(train_arguments(run, {"solver.lr=1e38", "solver.batch_size=200", "solver.weight_decay=1e38"}), non_finite,
                  {"not finite", "epoch 1, step 1"});
    CHECK(files_with(run, "safetensors").empty());

    // A run that has gone well and blows up in its next epoch: filters so large that the logits overflow.
    {
        Process process(command(train_arguments(run)));
        REQUIRE(process.wait_for_output("\nEpoch   1/"));
        process.send(SIGTERM);
        REQUIRE(process.wait().exit_code == 143);
    }
    SafetensorsFile file = read_safetensors(run + "/last.safetensors");
    for (float& weight : file.tensors.at("fc.weight").as<float>()) weight *= 1e38f;
    write_safetensors(run + "/last.safetensors", file);
    const std::string last = read_bytes(run + "/last.safetensors"), best = read_bytes(run + "/student_best.safetensors");
    const std::string metrics = read_bytes(run + "/metrics.jsonl");
    check_failure(train_arguments(run, {"--resume"}), non_finite, {"'ce'", "epoch 2, step ", run + "/last.safetensors"});
    CHECK(read_bytes(run + "/last.safetensors") == last);
    CHECK(read_bytes(run + "/student_best.safetensors") == best);
    CHECK(read_bytes(run + "/metrics.jsonl") == metrics);
    CHECK(run_mlkd(eval_arguments(run + "/student_best.safetensors")).exit_code == 0);
    CHECK(files_with(run, ".tmp").empty());
}

TEST_CASE("bad input: figures") {
    const TemporaryFolder folder;
    const std::string out = folder / "out";
    const auto figures = [&](const std::string& teacher, const std::string& student, const std::string& where) {
        return Arguments{"figures", "--device", "cpu", "--threads", "2", "--teacher", teacher, "--student", student, "--data", tiny_data,
                         "--out", where};
    };
    check_failure(figures(good_checkpoint(), "KD", out), usage, {"KD", "LABEL=FILE"});
    check_failure(figures(good_checkpoint(), "=x", out), usage, {"LABEL=FILE"});
    check_failure(figures(good_checkpoint(), "KD=" + (folder / "none"), out), runtime_error, {folder / "none"});
    check_failure(figures(folder / "none", "KD=" + good_checkpoint(), out), runtime_error, {folder / "none"});
    CHECK(!fs::exists(out));
    write_bytes(folder / "file", "in the way");
    check_failure(figures(good_checkpoint(), "KD=" + good_checkpoint(), folder / "file"), runtime_error, {folder / "file"});
    Arguments one_image = figures(good_checkpoint(), "KD=" + good_checkpoint(), out);
    one_image[10] = "synthetic:1:4";
    check_failure(one_image, runtime_error, {"image", "at least 2"});
    CHECK(!fs::exists(out));
}

// The data are missing in each of these: what is complained of was looked at before them.
TEST_CASE("bad input: what can be checked is checked before data are loaded or a network runs") {
    const TemporaryFolder folder;
    const std::string none = folder / "none", out = folder / "out", file = folder / "file", good = good_checkpoint();
    write_bytes(file, "in the way");
    const std::string other = changed(folder / "five.safetensors", [](SafetensorsFile& f) {
        f.metadata["classes"] = "5";
        f.tensors["fc.weight"] = HostTensor::zeros(DType::f32, {5, 64});
        f.tensors["fc.bias"] = HostTensor::zeros(DType::f32, {5});
    });
    const auto figures = [&](const Arguments& more) {
        Arguments all{"figures", "--device", "cpu", "--threads", "2", "--data", none, "--teacher", good};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    };
    check_failure(figures({"--student", "a=" + good, "--student", "b=" + file, "--out", out}), runtime_error, {file});
    check_failure(figures({"--student", "a=" + other, "--out", out}), runtime_error, {other, "5 classes", good, "4"});
    check_failure(figures({"--student", "a=" + good, "--student", "a=" + good, "--out", out}), usage, {"\"a\""});
    check_failure(figures({"--student", "a\x1b=" + good, "--out", out}), usage, {"\"a\\x1b\""});
    for (const char* temperature : {"0", "-1", "nan", "inf"})
        check_failure(figures({"--student", "a=" + good, "--out", out, "--temperature", temperature}), usage, {"temperature"});
    for (const std::string& bad : {file, file + "/below", std::string("/proc/mlkd/below"), std::string("/dev/null")})
        check_failure(figures({"--student", "a=" + good, "--out", bad}), runtime_error, {bad});
    check_failure(eval_arguments(file, none), runtime_error, {file});
    check_failure(train_arguments(folder / "run", {"dataset.path=" + none, "distiller.type=kd", "distiller.teacher=resnet8",
                                                   "distiller.teacher_checkpoint=" + file}),
                  runtime_error, {file});
    CHECK(!fs::exists(out));
    CHECK(read_bytes(file) == "in the way");

    for (const std::string& bad : {none + "/below.json", folder.path(), file + "/below.json", std::string("/proc/mlkd.json")}) {
        const Outcome outcome = run_mlkd({"bench", "--filter", "view", "--device", "cpu", "--json", bad});
        CHECK(outcome.exit_code == runtime_error);
        CHECK_MESSAGE(outcome.err.find(bad) != std::string::npos, outcome.err);
        CHECK(outcome.out.empty());
    }
    CHECK(run_mlkd({"models", "--classes", "1"}).out.empty());
}

TEST_CASE("bad input: names that are no text are refused by name or carried, and shown escaped") {
    const TemporaryFolder folder;
    const std::string latin = folder / "caf\xe9", escape = folder / "a\x1b[31m\nb";
    // config.json could not hold it.
    check_failure(train_arguments(latin), usage, {"output", "caf\\xe9", "UTF-8"});
    check_failure(train_arguments(folder / "run", {"experiment.name=\xff"}), usage, {"experiment.name", "\\xff"});
    CHECK(folder.entries() == 0);
    check_failure(eval_arguments(escape), runtime_error, {"a\\x1b[31m\\nb: No such file"});
    check_failure(eval_arguments(folder / "a\\x1b"), runtime_error, {"a\\\\x1b: "});
    check_failure({"tr\x1b[1min"}, usage, {"tr\\x1b[1min"});
    check_failure(train_arguments(folder / "run", {"solver.\x07lr=1"}), usage, {"solver.\\x07lr"});
    check_failure({"bench", "--filter", "[\x1b"}, usage, {"[\\x1b"});
    const std::string file = changed(folder / "f.safetensors", [](SafetensorsFile& f) { f.tensors["surplus\x1b\u202e"] = HostTensor::zeros(DType::f32, {5}); });
    check_failure(eval_arguments(file), runtime_error, {"surplus\\x1b\\xe2\\x80\\xae"});
    changed(file, [](SafetensorsFile& f) { f.metadata["model"] = "resnet8\n"; });
    check_failure(eval_arguments(file), usage, {"resnet8\\n"});
    // Carried: no JSON holds these paths.
    fs::copy_file(good_checkpoint(), latin);
    fs::copy_file(good_checkpoint(), escape);
    for (const std::string& path : {latin, escape}) {
        const Outcome outcome = run_mlkd(eval_arguments(path));
        CHECK(outcome.exit_code == 0);
        CHECK(outcome.out.find(path == latin ? "caf\\xe9 (resnet8)" : "a\\x1b[31m\\nb (resnet8)") != std::string::npos);
    }
    const Outcome drawn = run_mlkd({"figures", "--device", "cpu", "--teacher", latin, "--student", "a=" + escape, "--data", tiny_data,
                                    "--out", folder / "out\xe9"});
    CHECK_MESSAGE(drawn.exit_code == 0, drawn.err);
    CHECK(drawn.out.find("out\\xe9") != std::string::npos);
    CHECK(fs::exists(folder / "out\xe9/figures.json"));
}
