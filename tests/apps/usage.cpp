// Command lines that would be taken otherwise than meant, and what is said of them.
#include "tests/apps/failures.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

std::string resolved(const Arguments& arguments) {
    Arguments all{"train", "--print-config"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    const Outcome outcome = run_mlkd(all);
    CHECK_MESSAGE(outcome.exit_code == 0, outcome.err);
    return outcome.out;
}

}  // namespace

TEST_CASE("usage: empty values are refused") {
    for (const char* option : {"--config", "--seed", "--data", "--output", "--device", "--threads", "--precision"}) {
        check_failure({"train", "--print-config", option, ""}, usage, {option, "empty"});
        check_failure({"train", "--print-config", std::string(option) + "=", "solver.lr=1"}, usage, {option, "empty"});
    }
    check_failure({"train", "--print-config", "output="}, usage, {"output=", "no value"});
    check_failure({"train", "--print-config", "log.prefix="}, usage, {"log.prefix=", "no value"});
    check_failure({"train", "--print-config", ""}, usage, {"key=value"});
    check_failure({"eval", "--checkpoint", "", "--data", tiny_data}, usage, {"--checkpoint", "empty"});
    check_failure({"eval", "--checkpoint", "x", "--data", ""}, usage, {"--data", "empty"});
    check_failure({"eval", "--checkpoint", "x", "--data", "x", "--model", ""}, usage, {"--model", "empty"});
    check_failure({"eval", "--checkpoint", "x", "--data", "x", "--threads", ""}, usage, {"--threads", "empty"});
    check_failure({"figures", "--teacher", "x", "--student", "A=x", "--data", "x", "--out", ""}, usage, {"--out", "empty"});
    check_failure({"bench", "--filter", "", "--list"}, usage, {"--filter", "empty"});
}

TEST_CASE("usage: what contradicts is refused with both") {
    check_failure({"train", "--print-config", "--resume", "--overwrite"}, usage, {"--resume", "--overwrite"});
    check_failure({"train", "--print-config", "--seed", "1", "solver.seed=2"}, usage, {"--seed 1", "solver.seed=2"});
    check_failure({"train", "--print-config", "--seed", "1", "--seed", "2"}, usage, {"--seed"});
    check_failure({"train", "--print-config", "solver.lr=1", "solver.lr=2"}, usage, {"solver.lr=1", "solver.lr=2"});
    check_failure({"train", "--print-config", "--no-graph", "graph=true"}, usage, {"--no-graph", "graph=true"});
    check_failure({"train", "--print-config", "--output", "a", "output=b"}, usage, {"--output a", "output=b"});
    check_failure({"train", "--print-config", "--data", "a", "dataset.path=b"}, usage, {"--data a", "dataset.path=b"});
    check_failure({"bench", "--list", "--json", "/tmp/x"}, usage, {"--list", "--json"});
    CHECK(resolved({"--seed", "1", "solver.seed=1.0", "--no-graph", "graph=false"}).find("\"seed\": 1\n") != std::string::npos);
}

TEST_CASE("usage: whole numbers are integers in options, too") {
    CHECK(run_mlkd(eval_arguments(good_checkpoint(), tiny_data, {"--batch-size", "6.4e1"})).exit_code == 0);
    check_failure(eval_arguments(good_checkpoint(), tiny_data, {"--batch-size", "64.5"}), usage, {"--batch-size", "64.5"});
    CHECK(run_mlkd({"models", "--classes", "1e1"}).out == run_mlkd({"models", "--classes", "10"}).out);
    CHECK(resolved({"--seed", "2e1", "--threads", "2.0"}).find("\"seed\": 20\n") != std::string::npos);
}

TEST_CASE("usage: what is meant is said") {
    const TemporaryFolder folder;
    check_failure({"train", "--epochs", "3"}, usage, {"\"--epochs\"", "\"solver.epochs=3\""});
    check_failure({"train", "--epochs=3"}, usage, {"\"--epochs\"", "\"solver.epochs=3\""});
    check_failure({"train", "--batch-size", "3"}, usage, {"\"solver.batch_size=3\""});
    check_failure({"train", "--sede", "3"}, usage, {"--seed"});
    check_failure({"eval", "--batch_size", "3"}, usage, {"did you mean --batch-size"});
    check_failure({"eval", "--epochs", "3"}, usage, {"unknown option \"--epochs\""});
    write_bytes(folder / "recipe.json", "{}");
    check_failure({"train", folder / "recipe.json"}, usage, {folder / "recipe.json", "--config"});
    check_failure({"train", folder.path()}, usage, {"folder", "--data"});
    check_failure({"eval", folder / "recipe.json", "--data", tiny_data}, usage, {folder / "recipe.json", "--checkpoint"});
    check_failure({"evaluate-it-all"}, usage, {"unknown command", "mlkd --help"});
    CHECK(run_mlkd({"evaluate-it-all"}).err.find("did you mean") == std::string::npos);

    for (const char* command : {"train", "eval", "figures", "bench", "models", "doctor"}) {
        const Outcome help = run_mlkd({"help", command});
        CHECK(help.exit_code == 0);
        CHECK(help.out == run_mlkd({command, "--help"}).out);
    }
    CHECK(run_mlkd({"help"}).out == run_mlkd({"--help"}).out);
    CHECK(run_mlkd({"help"}).out.find("train") != std::string::npos);
}

TEST_CASE("usage: settings without effect are said, runs that would learn nothing refused") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    check_failure(train_arguments(run, {"solver.lr=1e-50"}), usage, {"solver.lr", "float32"});
    CHECK(!fs::exists(run));
    const Outcome outcome =
        run_mlkd(train_arguments(run, {"solver.epochs=1", "dataset.train_images=201", "dataset.test.images=201", "kd.temperature=2"}));
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out.find("solver.lr_decay_stages 2: no effect") != std::string::npos);
    CHECK(outcome.out.find("dataset.train_images 201: no effect, synthetic has 200") != std::string::npos);
    CHECK(outcome.out.find("dataset.test.images 201: no effect, synthetic has 200") != std::string::npos);
    CHECK(outcome.out.find("kd.temperature=2: no effect") != std::string::npos);
    CHECK(outcome.out.find("products") == std::string::npos);
    const Outcome gpu =
        run_mlkd(train_arguments(folder / "gpu", {"solver.epochs=1", "products=tf32", "--no-graph", "nondeterministic=true"}));
    for (const char* const setting : {"products tf32: no effect", "graph false: no effect", "nondeterministic true: no effect"})
        CHECK(gpu.out.find(setting) != std::string::npos);
    const Outcome one = run_mlkd(train_arguments(folder / "one", {"solver.epochs=1", "dataset.train_images=1"}));
    CHECK(one.out.find("one training image") != std::string::npos);
}
