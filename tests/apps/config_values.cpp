// Values of a configuration that mean something else elsewhere, contradict each other or do nothing.
#include "apps/config/idle_settings.h"
#include "tests/apps/config_text.h"

using namespace mlkd;
using namespace mlkd::test;

TEST_CASE("configuration: names of other code bases mean what they mean there, or are refused with ours") {
    const auto type = [&](const std::string& name) {
        return load_config("", {"distiller.teacher=resnet20", "distiller.type=" + name}).distiller.method.chosen;
    };
    CHECK(type("KD") == "kd");
    CHECK(type("NONE") == "none");
    CHECK(type("mlkd_official") == "mlkd_official");
    for (const char* name : {"MLKD", "Mlkd", "KD_ours", "kd_ours"}) {
        CAPTURE(name);
        const std::string message = failure_of(std::string("distiller.type=") + name);
        CHECK(message.find("released code computes is mlkd_official here") != std::string::npos);
        CHECK(message.find("did you mean") == std::string::npos);
    }
    for (const char* name : {"CRD", "AT", "Vanilla", "ReviewKD", "something"})
        CHECK(failure_of(std::string("distiller.type=") + name).find("did you mean") == std::string::npos);
    CHECK(failure_of("distiller.type=mlkd_offical").find("did you mean \"mlkd_official\"?") != std::string::npos);
    // Another number is another network.
    for (const char* name : {"ResNet50", "resnet18", "vgg13", "MobileNetV2", "resnet8x5", "wrn_28_10"}) {
        CAPTURE(name);
        const std::string message = failure_of(std::string("distiller.student=") + name);
        CHECK(message.find("did you mean") == std::string::npos);
        CHECK(message.find("resnet110") != std::string::npos);
    }
    CHECK(failure_of("distiller.student=ResNet32x4").find("did you mean 'resnet32x4'?") != std::string::npos);
    CHECK(failure_of("distiller.student=wrn-16-2").find("did you mean 'wrn_16_2'?") != std::string::npos);
    CHECK(failure_of("dataset.type=cifar-100").find("did you mean \"cifar100\"?") != std::string::npos);
    CHECK(failure_of("dataset.type=CIFAR10").find("did you mean \"cifar10\"?") != std::string::npos);
    CHECK(failure_of("dataset.type=FashionMNIST").find("did you mean \"fashion-mnist\"?") != std::string::npos);
    for (const char* name : {"tiny_imagenet", "kmnist", "svhn", "cifar", "cifar1000"})
        CHECK(failure_of(std::string("dataset.type=") + name).find("did you mean") == std::string::npos);
    CHECK(failure_of("precision=fp16").find("the 16-bit type is bf16") != std::string::npos);
    CHECK(failure_of("precision=bfloat16").find("it is bf16 here") != std::string::npos);
    CHECK(failure_of("device=gpu").find("it is cuda here") != std::string::npos);
    CHECK(load_config("", {"solver.type=adamw"}).solver.optimizer.chosen == "AdamW");
    CHECK(failure_of("mlkd.divergence=mse").find("frobenius here") != std::string::npos);
    CHECK(failure_of("zzz=1") == "command line: unknown key \"zzz\"; docs/recipes.md lists all keys");
}

TEST_CASE("configuration: whole numbers are integers however they are written") {
    const Config config =
        loaded(R"({"solver": {"batch_size": 64.0, "epochs": 1e1, "lr_decay_stages": [2.0, 3e0], "seed": 1e3}, "threads": 2E0})");
    CHECK(config.solver.batch_size == 64);
    CHECK(config.solver.epochs == 10);
    CHECK(config.solver.lr_decay_stages == std::vector<int>{2, 3});
    CHECK(config.solver.seed == 1000);
    CHECK(config.threads == 2);
    CHECK(config_hash(config) == config_hash(loaded(R"({"solver": {"epochs": 10, "lr_decay_stages": [2, 3], "seed": 1000}})")));
    CHECK(failure_of("solver.batch_size=64.5") == "command line: solver.batch_size: expected an integer, got number 64.5");
    CHECK(failure_of("solver.epochs=1e10") == "command line: solver.epochs: number 10000000000 is out of range");
    CHECK(failure_of("solver.epochs=1e300").find("expected an integer") != std::string::npos);
    CHECK(failure_of("solver.seed=-1.0").find("expected an integer from 0") != std::string::npos);
    CHECK(failure_of("solver.lr_decay_stages=[2.5]").find("list of integers") != std::string::npos);
}

TEST_CASE("configuration: arguments that contradict each other are refused with both") {
    const auto refused = [](const std::vector<std::string>& overrides) { return failure("{}", overrides); };
    CHECK(refused({"solver.lr=0.1", "threads=2", "solver.lr=0.2"}) ==
          "command line: \"solver.lr=0.1\" and \"solver.lr=0.2\" contradict each other; give one of them");
    CHECK(refused({"solver.lr=0.1", "solver.lr=1e-1"}) == "no failure");
    CHECK(failure("{\"solver\": {\"lr\": 3}}", {"solver.lr=0.1"}) == "no failure");
}

TEST_CASE("configuration: settings under which nothing is learnt are refused") {
    for (const char* setting :
         {"solver.lr=1e-50", "solver.weight_decay=1e-60", "solver.lr=1e39", "kd.temperature=1e-46", "mlkd.temperatures=[4,1e-50]"}) {
        CAPTURE(setting);
        CHECK(failure_of(setting).find("float32") != std::string::npos);
    }
    CHECK(failure_of("solver.momentum=0.99999999999").find("less than 1 in float32") != std::string::npos);
    CHECK(failure("{}", {"solver.momentum=0", "solver.nesterov=true"}).find("solver.momentum is 0") != std::string::npos);
    CHECK(failure("{}", {"solver.lr_decay_rate=1e-30", "solver.epochs=211"}).find("from epoch 181 on") != std::string::npos);
    CHECK(failure("{}", {"solver.lr_decay_rate=1e-30", "solver.epochs=180"}) == "no failure");
    const auto distilling = [](std::vector<std::string> overrides) {
        overrides.emplace_back("distiller.teacher=resnet20");
        return failure("{}", overrides);
    };
    CHECK(distilling({"distiller.type=kd", "kd.loss.ce_weight=0", "kd.loss.kd_weight=0"}).find("nothing would be learnt") !=
          std::string::npos);
    CHECK(distilling({"distiller.type=kd", "kd.loss.ce_weight=0"}) == "no failure");
    CHECK(distilling({"distiller.type=kd", "mlkd.loss.ce_weight=0", "mlkd.loss.kd_weight=0"}) == "no failure");
    CHECK(distilling({"distiller.type=mlkd", "mlkd.loss.ce_weight=0", "mlkd.loss.instance_weight=0", "mlkd.loss.batch_weight=0",
                      "mlkd.loss.class_weight=0"})
              .find("nothing would be learnt") != std::string::npos);
    CHECK(distilling({"distiller.type=mlkd", "mlkd.loss.ce_weight=0", "mlkd.loss.instance_weight=0", "mlkd.loss.batch_weight=0"}) ==
          "no failure");
    CHECK(failure_of("log.prefix=\"\"").find("log.prefix: impossible value \"\"") != std::string::npos);
}

TEST_CASE("configuration: settings without effect are said") {
    const auto said = [](const std::vector<std::string>& overrides) {
        std::string all;
        for (const std::string& line : idle_settings(load_config("", overrides), overrides)) all += line + "\n";
        return all;
    };
    CHECK(said({}).empty());
    CHECK(said({"solver.epochs=210"}) == "solver.lr_decay_stages 210: no effect, there are 210 epochs\n");
    CHECK(said({"solver.epochs=5", "solver.lr_decay_rate=1"}).empty());
    CHECK(said({"log.save_checkpoint_freq=241"}) == "log.save_checkpoint_freq 241: no effect, there are 240 epochs\n");
    CHECK(said({"solver.schedule=cosine"}).empty());
    CHECK(said({"solver.schedule=cosine", "solver.lr_decay_rate=0.2"}) ==
          "solver.lr_decay_rate=0.2: no effect, solver.schedule is cosine\n");
    CHECK(said({"solver.warmup_epochs=240"}) == "solver.warmup_epochs 240: there are 240 epochs, all below solver.lr\n");
    CHECK(said({"solver.beta1=0.8"}) == "solver.beta1=0.8: no effect, solver.type is SGD\n");
    CHECK(said({"solver.type=AdamW", "solver.momentum=0.8", "solver.weight_decay=0.1", "solver.beta2=0.99"}) ==
          "solver.momentum=0.8: no effect, solver.type is AdamW\n");
    CHECK(said({"kd.temperature=3"}) == "kd.temperature=3: no effect, distiller.type is none\n");
    CHECK(said({"distiller.type=mlkd", "distiller.teacher=resnet8", "kd.temperature=3", "mlkd.temperatures=[3]"}) ==
          "kd.temperature=3: no effect, distiller.type is mlkd\n");
    CHECK(said({"distiller.type=kd", "distiller.teacher=resnet8", "kd.loss.kd_weight=0"}).find("teacher's losses are 0") !=
          std::string::npos);
}
