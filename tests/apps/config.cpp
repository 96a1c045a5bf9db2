#include "apps/config/config.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <regex>

#include "apps/config/config_keys.h"
#include "tests/apps/config_text.h"
#include "tests/support/sources.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

const fs::path root = test::sources();

}  // namespace

TEST_CASE("configuration: the defaults are mdistiller's, but for weight decay") {
    const Config config = load_config("", {});
    CHECK(config.distiller.method.chosen == "none");
    CHECK(config.solver.lr_decay_stages == std::vector<int>{150, 180, 210});
    CHECK(settings_of(config)["solver.weight_decay"] == 5e-4);
    CHECK(settings_of(config)["kd.temperature"] == 4);
    CHECK(to_json(config) == to_json(Config{}));
    CHECK(to_json(loaded("{} // a comment")) == to_json(config));
}

TEST_CASE("configuration: files with comments, overrides, and text that looks like a number") {
    const Config config = loaded(R"(// of a student
        {
            /* over
               two lines */
            "experiment": {"name": "a // b"},
            "distiller": {"type": "KD", "teacher": "resnet20", "student": "resnet8"},
            "solver": {"lr": 1e-2, "lr_decay_stages": [3], "epochs": 5}
        })",
                                 {"solver.lr=0.2", "mlkd.temperatures=[1.5, 2]", "dataset.path=/a path/with=signs", "experiment.tag=3",
                                  "solver.epochs=8", "solver.epochs=8.0", "output=\"\"", "device=cuda:1", "kd.logit_standardization=true",
                                  "mlkd.divergence=KL", "solver.seed=18446744073709551615", "experiment.project=\"quoted\""});
    CHECK(config.experiment.name == "a // b");
    CHECK(config.distiller.method.chosen == "kd");
    CHECK(config.solver.lr == 0.2);
    CHECK(config.solver.epochs == 8);
    CHECK(config.solver.lr_decay_stages == std::vector<int>{3});
    CHECK(settings_of(config)["mlkd.temperatures"] == std::vector<double>{1.5, 2});
    CHECK(settings_of(config)["mlkd.divergence"] == "kl");
    CHECK(config.dataset.path == "/a path/with=signs");
    CHECK(config.experiment.tag == "3");
    CHECK(config.experiment.project == "quoted");
    CHECK(config.output.empty());
    CHECK(config.device == "cuda:1");
    CHECK(settings_of(config)["kd.logit_standardization"] == true);
    CHECK(config.solver.seed == ~std::uint64_t{0});
    CHECK(loaded(R"({"solver.lr": 3})").solver.lr == 3);
}

TEST_CASE("configuration: an unknown key is named with its place and the nearest known key") {
    CHECK(failure("{\n  \"solver\": {\n    \"lr\": 1, // here\n    \"learning_rate\": 0.1}}") ==
          "FILE:4: unknown key \"solver.learning_rate\": it is solver.lr here");
    CHECK(failure("{\n\"sovler\": {\"lr\": 1}}") == "FILE:2: unknown key \"sovler\"; did you mean solver?");
    CHECK(failure("{\"dataset\": {\"test\": {/*\n\n*/\n\"batchsize\": 1}}}") ==
          "FILE:4: unknown key \"dataset.test.batchsize\"; did you mean dataset.test.batch_size?");
    CHECK(failure_of("solver.lrr=1") == "command line: unknown key \"solver.lrr\"; did you mean solver.lr?");
    CHECK(failure_of("SOLVER.LR=1") == "command line: unknown key \"SOLVER.LR\"; did you mean solver.lr?");
    CHECK(failure_of("epochs=1") == "command line: unknown key \"epochs\"; did you mean solver.epochs?");
    CHECK(failure_of("mlkd.loss.kl_weight=1").ends_with("did you mean mlkd.loss.kd_weight?"));
    CHECK(failure_of(".=1").starts_with("command line: unknown key \".\""));
    CHECK(failure("{\"a\\nb\": 1}").starts_with("FILE:1: unknown key \"a\nb\"; "));
    CHECK(failure("{\"" + std::string(9000, 'x') + "\": 1}").starts_with("FILE:1: unknown key \"xxxx"));
    CHECK(failure("{\"solver\": {\"lr\": {\"x\": 1}}}") == "FILE:1: solver.lr: expected a number, got object {\"x\":1}");
}

TEST_CASE("configuration: a wrong type is named with what was expected") {
    CHECK(failure("{\"solver\":\n {\"lr\": \"fast\"}}") == "FILE:2: solver.lr: expected a number, got text \"fast\"");
    CHECK(failure_of("solver.lr=nan") == "command line: solver.lr: expected a number, got text \"nan\"");
    CHECK(failure_of("solver.lr=") == "command line: \"solver.lr=\" has no value; the empty text is written 'solver.lr=\"\"'");
    CHECK(failure_of("experiment.name=").starts_with("command line: \"experiment.name=\" has no value"));
    CHECK(failure_of("solver.lr=1e999") == "command line: solver.lr: expected a number, got text \"1e999\"");
    CHECK(failure_of("solver.lr=null") == "command line: solver.lr: expected a number, got null");
    CHECK(failure_of("solver.epochs=1.5") == "command line: solver.epochs: expected an integer, got number 1.5");
    CHECK(failure_of("solver.epochs=true") == "command line: solver.epochs: expected an integer, got true");
    CHECK(failure_of("solver.epochs=3000000000") == "command line: solver.epochs: number 3000000000 is out of range");
    CHECK(failure_of("solver.seed=-1") == "command line: solver.seed: expected an integer from 0 to 2^64 - 1, got number -1");
    CHECK(failure_of("mlkd.temperatures=4") == "command line: mlkd.temperatures: expected a list of numbers [...], got number 4");
    CHECK(failure_of("mlkd.temperatures=[4,\"a\"]").ends_with("expected a list of numbers [...], got list [4,\"a\"]"));
    CHECK(failure_of("solver.lr_decay_stages=[1.5]").ends_with("expected a list of integers [...], got list [1.5]"));
    CHECK(failure_of("kd.logit_standardization=1").ends_with("expected true or false, got number 1"));
    CHECK(failure("{\"output\": 3}") == "FILE:1: output: expected text in quotes, got number 3");
    CHECK(failure("{\"solver\": []}") == "FILE:1: solver: expected a section {...}, got list []");
    CHECK(failure("[]") == "FILE: expected an object {...}, got list []");
    CHECK(failure_of("solver=3") == "command line: solver: is a section; set one of its keys");
    CHECK(failure_of("solver.lr") == "command line: \"solver.lr\": expected key=value, such as solver.lr=0.1");
    CHECK(failure_of("=1").ends_with("expected key=value, such as solver.lr=0.1"));
}

TEST_CASE("configuration: an impossible value is named with what is allowed") {
    CHECK(failure("{\"solver\": {\n\"batch_size\": 0}}") == "FILE:2: solver.batch_size: impossible value 0; allowed: 1 to 65536");
    CHECK(failure_of("solver.batch_size=0") == "command line: solver.batch_size: impossible value 0; allowed: 1 to 65536");
    CHECK(failure_of("solver.lr=-0.1") == "command line: solver.lr: impossible value -0.1; allowed: a number greater than 0");
    CHECK(failure_of("kd.temperature=0").ends_with("impossible value 0; allowed: a number greater than 0"));
    CHECK(failure_of("mlkd.temperatures=[]").ends_with("impossible value []; allowed: 1 to 64 numbers greater than 0"));
    CHECK(failure_of("mlkd.temperatures=[4,0]").find("impossible value [4,0]") != std::string::npos);
    CHECK(failure_of("solver.epochs=0").find("impossible value 0") != std::string::npos);
    CHECK(failure_of("solver.momentum=1").ends_with("allowed: 0 or more, and less than 1 in float32"));
    CHECK(failure_of("solver.weight_decay=-1").ends_with("allowed: 0 or more"));
    CHECK(failure_of("solver.lr_decay_rate=0").ends_with("allowed: greater than 0, at most 1"));
    for (const char* stages : {"[]", "[0]", "[3,3]", "[5,4]"})
        CHECK(failure_of(std::string("solver.lr_decay_stages=") + stages).find("each later than the one before") != std::string::npos);
    CHECK(failure_of("threads=-1").find("impossible value -1") != std::string::npos);
    CHECK(failure_of("dataset.num_workers=0").find("impossible value 0") != std::string::npos);
    CHECK(failure_of("dataset.type=cifar") .find("impossible value \"cifar\"; allowed: auto, cifar100") != std::string::npos);
    CHECK(failure_of("device=gpu").ends_with("allowed: auto, cpu, cuda or cuda:N"));
    CHECK(failure_of("device=cuda:").ends_with("allowed: auto, cpu, cuda or cuda:N"));
    CHECK(failure_of("solver.type=adamax") == "command line: solver.type: unknown \"adamax\"; did you mean \"AdamW\"? allowed: SGD, AdamW");
    CHECK(failure_of("distiller.type=crd")
              .starts_with("command line: distiller.type: unknown \"crd\": a method of mdistiller that is not here; allowed: none, kd, "
                           "mlkd, mlkd_official"));
    CHECK(failure_of("mlkd.divergence=js").ends_with("allowed: frobenius, kl"));
    CHECK(failure_of("distiller.student=rsnet8x4").starts_with(
        "command line: distiller.student: unknown model \"rsnet8x4\"; did you mean 'resnet8x4'? known: resnet8, "));
    CHECK(failure_of("distiller.type=mlkd") == "command line: distiller.teacher: distiller.type mlkd needs a teacher; name its model");
    CHECK(failure("{\"distiller\":\n{\"type\": \"kd\"}}") ==
          "FILE:2: distiller.teacher: distiller.type kd needs a teacher; name its model");
}

TEST_CASE("configuration: bad syntax is located to line and column") {
    CHECK(failure("{\n  \"solver\": {\"lr\": 0.1,}\n}").starts_with("FILE:2:24: syntax error while parsing object key"));
    CHECK(failure("{\"solver\": {\"lr\": 0.1}").starts_with("FILE:1:23: syntax error"));
    CHECK(failure("{\"threads\": 01}").starts_with("FILE:1:14: syntax error"));
    CHECK(failure("{} {}").starts_with("FILE:1:4: syntax error"));
    CHECK(failure("{\"output\": \"\xff\"}").starts_with("FILE:1:13: syntax error"));
    CHECK(failure("{\"threads\": 1 /* no end").starts_with("FILE:1:"));
    CHECK(failure("{\"solver\": {\"lr\": 1e999}}") == "FILE: a number is too large");
    CHECK(failure("") == "FILE: the configuration is empty");
    CHECK(failure(" \n") == "FILE: the configuration is empty");
    CHECK(failure("{\n\"threads\": 1,\n\"threads\": 2}") == "FILE:3: threads: occurs twice, first in line 2");
    CHECK(failure("{\"solver.lr\": 1,\n\"solver\": {\"lr\": 2}}") == "FILE:2: solver.lr: occurs twice, first in line 1");
    const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
    CHECK(failure("{\"threads\":" + deep + "}") == "FILE: nested too deeply");
    CHECK(failure_of("threads=" + deep) == "command line: \"threads\": nested too deeply");
    CHECK(failure(std::string((1 << 20) + 1, ' ')) == "FILE: too large for a configuration (at most 1 MiB)");
}

TEST_CASE("configuration: files that cannot be read") {
    const test::TemporaryFolder folder;
    CHECK_THROWS_WITH_AS(load_config(folder / "none.json", {}),
                         ((folder / "none.json") + ": cannot read the configuration: No such file or directory").c_str(), UsageError);
    CHECK_THROWS_WITH_AS(load_config(folder.path(), {}), (folder.path() + ": it is a folder, not a configuration file").c_str(),
                         UsageError);
    CHECK_THROWS_AS(load_config("/dev/zero", {}), UsageError);
}

TEST_CASE("configuration: the resolved form loads to the same configuration") {
    Config config = loaded(R"({"distiller": {"type": "mlkd_official", "teacher": "resnet32x4", "teacher_checkpoint": "a \"b\"\\ü"},
                               "solver": {"lr": 0.1, "weight_decay": 1e-30, "momentum": 0.30000000000000004, "seed": 18446744073709551615},
                               "mlkd": {"temperatures": [0.1, 7], "divergence": "kl"}})");
    const std::string text = to_json(config).dump(2);
    CHECK(to_json(loaded(text)).dump(2) == text);
    CHECK(config_hash(loaded(text)) == config_hash(config));
    CHECK(settings_of(loaded(text))["solver.momentum"] == 0.30000000000000004);
}

TEST_CASE("configuration: every key can be set, is written, and is refused under a misspelt name") {
    const std::vector<std::string> keys = config_keys();
    CHECK(keys.size() >= 51);
    for (const std::string& key : keys) {
        CAPTURE(key);
        std::string pointer = "/" + key;
        std::replace(pointer.begin(), pointer.end(), '.', '/');
        CHECK(to_json(Config{}).contains(nlohmann::ordered_json::json_pointer(pointer)));
        CHECK(failure_of(key + "x=1") == "command line: unknown key \"" + key + "x\"; did you mean " + key + "?");
    }
}

TEST_CASE("configuration: the hash changes with what determines the numbers alone") {
    const std::vector<std::string> base = {"distiller.type=mlkd", "distiller.teacher=resnet20"};
    const auto hash = [&](const std::string& extra) {
        std::vector<std::string> overrides = base;
        std::erase_if(overrides, [&](const std::string& other) { return extra.starts_with(other.substr(0, other.find('=') + 1)); });
        overrides.push_back(extra);
        return config_hash(load_config("", overrides));
    };
    const std::string reference = config_hash(load_config("", base));
    CHECK(reference.size() == 16);
    for (const char* extra : {"solver.lr=0.06",
                              "solver.seed=1",
                              "solver.epochs=3",
                              "mlkd.temperatures=[4]",
                              "mlkd.loss.batch_weight=2",
                              "distiller.student=resnet8",
                              "distiller.teacher=resnet32",
                              "distiller.teacher_checkpoint=x",
                              "mlkd.divergence=kl",
                              "solver.lr_decay_stages=[1]",
                              "distiller.type=kd",
                              "dataset.type=cifar10",
                              "dataset.train_images=9",
                              "dataset.test.images=9",
                              "deterministic=true",
                              "solver.type=AdamW",
                              "solver.nesterov=true",
                              "solver.momentum=0.8",
                              "solver.schedule=cosine",
                              "solver.warmup_epochs=5",
                              "solver.label_smoothing=0.1"}) {
        CAPTURE(extra);
        CHECK(hash(extra) != reference);
    }
    for (const char* extra :
         {"device=cpu", "threads=3", "output=x", "log.prefix=x", "log.save_checkpoint_freq=3", "experiment.name=x", "dataset.path=/x",
          "dataset.num_workers=3", "kd.temperature=3", "solver.lr=0.05", "solver.type=sgd", "solver.nesterov=false", "solver.beta1=0.8",
          "solver.schedule=step", "solver.warmup_epochs=0", "solver.label_smoothing=0"}) {
        CAPTURE(extra);
        CHECK(hash(extra) == reference);
    }
    // Of another program version's runs too: this value may change only with the meaning of a key.
    CHECK(config_hash(Config{}) == "e4f6b78c3f6985f5");
}

TEST_CASE("configuration: mlkd and mlkd_official share their section, and have its values both") {
    const Config config = load_config("", {"mlkd.loss.batch_weight=3", "mlkd.temperatures=[7]"});
    int found = 0;
    for (const auto& method : config.distiller.method.parts)
        for_each_setting(*method, [&](const std::string& key, const auto& value, const auto&, const char*) {
            if constexpr (std::is_same_v<std::remove_cvref_t<decltype(value)>, double>) found += key == "loss.batch_weight" && value == 3;
        });
    CHECK(found == 2);
    std::vector<std::string> keys = config_keys();
    std::sort(keys.begin(), keys.end());
    CHECK(std::adjacent_find(keys.begin(), keys.end()) == keys.end());
}

TEST_CASE("configuration: a copy's settings are its own") {
    const Config original = load_config("", {"kd.temperature=3"});
    Config copy = original;
    set(*copy.distiller.method.parts[1], {"temperature", 5.0});
    CHECK(settings_of(copy)["kd.temperature"] == 5);
    CHECK(settings_of(original)["kd.temperature"] == 3);
}

TEST_CASE("configuration: the learning rate falls after its stages") {
    const Config::Solver solver;
    CHECK(learning_rate(solver, 1) == 0.05);
    CHECK(learning_rate(solver, 150) == 0.05);
    CHECK(learning_rate(solver, 151) == doctest::Approx(0.005));
    CHECK(learning_rate(solver, 210) == doctest::Approx(0.0005));
    CHECK(learning_rate(solver, 480) == doctest::Approx(0.00005));
}

TEST_CASE("configuration: a cosine from the rate to almost 0, and a linear warm-up") {
    Config::Solver solver;
    solver.schedule = "cosine";
    solver.epochs = 10;
    const auto cosine = [](double share) { return 0.05 * (1 + std::cos(3.141592653589793 * share)) / 2; };
    CHECK(learning_rate(solver, 1) == 0.05);
    CHECK(learning_rate(solver, 4) == doctest::Approx(cosine(0.3)));
    CHECK(learning_rate(solver, 6) == doctest::Approx(0.025));
    CHECK(learning_rate(solver, 10) == doctest::Approx(cosine(0.9)));
    solver.warmup_epochs = 4;
    for (int epoch = 1; epoch <= 4; ++epoch) CHECK(learning_rate(solver, epoch) == doctest::Approx(0.01 * epoch));
    CHECK(learning_rate(solver, 5) == 0.05);
    CHECK(learning_rate(solver, 6) == doctest::Approx(cosine(1.0 / 6)));
    solver.schedule = "step";
    solver.lr_decay_stages = {3, 6};
    CHECK(learning_rate(solver, 3) == doctest::Approx(0.03));
    CHECK(learning_rate(solver, 4) == doctest::Approx(0.004));
    CHECK(learning_rate(solver, 7) == doctest::Approx(0.0005));
    CHECK(failure_of("solver.schedule=linear") == "command line: solver.schedule: unknown \"linear\"; allowed: step, cosine");
    CHECK(failure_of("solver.label_smoothing=1").ends_with("0 or more, and less than 1 in float32"));
    CHECK(failure_of("solver.warmup_epochs=-1").ends_with("impossible value -1; allowed: 0 (none) or more"));
}

TEST_CASE("configuration: the output folder has no awkward names") {
    CHECK(output_folder(load_config("", {"experiment.tag=kd,resnet32x4:lr 0.1"})) == "output/distill/kd_resnet32x4_lr_0.1");
    CHECK(output_folder(load_config("", {"experiment.name=..", "experiment.project=a/b"})) == "output/a_b/_..");
    CHECK(output_folder(load_config("", {"output=/x/y:z", "experiment.name=n"})) == "/x/y:z");
}

TEST_CASE("every recipe in configs/ loads and says what it is") {
    int count = 0;
    for (const auto& entry : fs::recursive_directory_iterator(root / "configs")) {
        if (entry.path().extension() != ".json") continue;
        CAPTURE(entry.path().string());
        const Config config = load_config(entry.path().string(), {});
        CHECK(config.experiment.tag != "default");
        CHECK(test::read_bytes(entry.path().string()).starts_with("// "));
        ++count;
    }
    CHECK(count >= 11);
    const std::string pair = (root / "configs/cifar100/resnet32x4_resnet8x4/").string();
    CHECK(load_config(pair + "kd.json", {}).distiller.method.chosen == "kd");
    CHECK(load_config(pair + "vanilla_teacher.json", {}).distiller.student == "resnet32x4");
    const Config standardized = load_config(pair + "mlkd_standardized.json", {});
    CHECK(standardized.distiller.method.chosen == "mlkd_official");
    CHECK(standardized.solver.epochs == 480);
    CHECK(settings_of(standardized)["mlkd.temperatures"] == std::vector<double>{2, 3, 5, 2, 6});
    CHECK(settings_of(standardized)["mlkd.loss.kd_weight"] == 9);
}

TEST_CASE("docs/methods.md has the methods' keys as they are in the program") {
    const std::string text = test::read_bytes((root / "docs/methods.md").string());
    for (const std::string& row : method_key_rows()) {
        CAPTURE(row);
        CHECK(text.find(row + "\n") != std::string::npos);
    }
}

TEST_CASE("docs/recipes.md and docs/methods.md explain every key, and the first every recipe") {
    const std::string text = test::read_bytes((root / "docs/recipes.md").string());
    const std::string methods = test::read_bytes((root / "docs/methods.md").string());
    for (const std::string& key : config_keys()) {
        CAPTURE(key);
        CHECK((text + methods).find("`" + key + "`") != std::string::npos);
    }
    for (const auto& entry : fs::recursive_directory_iterator(root / "configs"))
        if (entry.path().extension() == ".json") {
            CAPTURE(entry.path().string());
            CHECK(text.find("`" + entry.path().stem().string() + "`") != std::string::npos);
        }
}
