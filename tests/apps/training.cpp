// Whole runs of the program: they learn, repeat bit for bit, write what they should, and leave the teacher alone.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>

#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

TEST_CASE("training: a network learns the synthetic images from fixed seeds") {
    const Metrics metrics = metrics_of(teacher_run());
    REQUIRE(metrics.size() == tiny_epochs);
    // Guessing gives 25.
    CHECK(metrics.back()["test_top1"].get<double>() >= 60.0);
    CHECK(metrics.back()["loss_ce"].get<double>() < 0.5 * metrics.front()["loss_ce"].get<double>());
    CHECK(metrics.front()["lr"].get<double>() == 0.05);
    CHECK(metrics.back()["lr"].get<double>() == doctest::Approx(0.005));
}

TEST_CASE("training: the same run twice gives the same bits, another seed gives others") {
    const TemporaryFolder folder;
    const std::string again = folder_with_plans_of(teacher_run(), folder / "again");
    REQUIRE(run_mlkd(train_arguments(again)).exit_code == 0);
    CHECK(difference(again, teacher_run()) == "");
    const std::string other = folder_with_plans_of(teacher_run(), folder / "other");
    REQUIRE(run_mlkd(train_arguments(other, {"--seed", "1", "solver.epochs=1"})).exit_code == 0);
    CHECK(metrics_of(other)[0]["loss_ce"] != metrics_of(teacher_run())[0]["loss_ce"]);
}

TEST_CASE("training: kd and mlkd lower their losses, and the teacher's file stays as it is") {
    const std::string teacher = teacher_run() + "/student_best.safetensors", before = read_bytes(teacher);
    const Metrics mlkd = metrics_of(mlkd_run());
    REQUIRE(mlkd.size() == tiny_epochs);
    for (const std::string part : {"loss_ce", "loss_instance", "loss_batch", "loss_class"}) {
        INFO(part);
        CHECK(mlkd.front()[part].get<double>() > 0);
        CHECK(mlkd.back()[part].get<double>() < mlkd.front()[part].get<double>());
    }
    CHECK(mlkd.back()["loss_total"].get<double>() < 0.5 * mlkd.front()["loss_total"].get<double>());
    CHECK(mlkd.back()["test_top1"].get<double>() >= 35.0);

    const TemporaryFolder folder;
    const std::string run = folder_with_plans_of(mlkd_run(), folder / "kd");
    const Outcome outcome = run_mlkd(distil_arguments(run, "kd"));
    REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
    const Metrics kd = metrics_of(run);
    for (const std::string part : {"loss_instance", "loss_total"}) {
        INFO(part);
        CHECK(kd.back()[part].get<double>() < 0.9 * kd.front()[part].get<double>());
    }
    CHECK_FALSE(kd.back().contains("loss_batch"));  // it has no such part
    // The teacher's accuracy is what its own run measured.
    const auto best = read_safetensors(teacher).meta("test_top1");
    CHECK(outcome.out.find("top-1 " + fmt::format("{:.2f}", std::stod(best))) != std::string::npos);
    CHECK(read_bytes(teacher) == before);
}

TEST_CASE("training: metrics.jsonl has every number of every epoch") {
    const Metrics metrics = metrics_of(mlkd_run());
    for (std::size_t i = 0; i < metrics.size(); ++i) {
        CHECK(metrics[i]["epoch"] == i + 1);
        for (const std::string key : {"lr", "loss_ce", "loss_instance", "loss_batch", "loss_class", "loss_total", "train_top1", "train_top5",
                                "test_top1", "test_top5", "test_loss", "train_seconds", "test_seconds", "data_share", "images_per_second"}) {
            INFO(key);
            CHECK(metrics[i].contains(key));
            CHECK(metrics[i][key].is_number());
        }
        CHECK(metrics[i]["train_top1"].get<double>() <= metrics[i]["train_top5"].get<double>());
        CHECK(metrics[i]["test_top5"].get<double>() <= 100.0);
        // Each image once: the share of 200 images is a multiple of a half percent.
        const double halves = 2 * metrics[i]["train_top1"].get<double>();
        CHECK(std::abs(halves - std::round(halves)) < 1e-9);
        CHECK(metrics[i]["data_share"].get<double>() >= 0.0);
        CHECK(metrics[i]["data_share"].get<double>() <= 1.0);
        CHECK(metrics[i]["images_per_second"].get<double>() * metrics[i]["train_seconds"].get<double>() == doctest::Approx(200));
    }
}

TEST_CASE("training: the log names device, data, networks and results, and has no progress line") {
    const std::string out = teacher_outcome().out;
    CHECK(out.find('\r') == std::string::npos);
    CHECK(out.find('\x1b') == std::string::npos);
    for (const std::string text : {"on cpu", "2 threads", "oneDNN", "200 training and 200 test images, 4 classes", "resnet8: ", "parameters", "Epoch   1/4",
                             "Epoch   4/4", "Best accuracy: "}) {
        INFO(text);
        CHECK(out.find(text) != std::string::npos);
    }
    CHECK(teacher_outcome().err.empty());
    CHECK(files_with(teacher_run(), ".tmp").empty());
}

TEST_CASE("training: epochs and teacher are evaluated on the first test images where a number of them is set, and learn the same") {
    const TemporaryFolder folder;
    const std::string fewer = folder_with_plans_of(mlkd_run(), folder / "fewer");
    const Outcome outcome = run_mlkd(distil_arguments(fewer, "mlkd", {"dataset.test.images=37"}));
    REQUIRE_MESSAGE(outcome.exit_code == 0, outcome.err);
    CHECK(outcome.out.find("200 training and 37 test images") != std::string::npos);
    CHECK(outcome.out.find("on the 37 test images") != std::string::npos);
    const Metrics all = metrics_of(mlkd_run()), few = metrics_of(fewer);
    REQUIRE(all.size() == few.size());
    for (std::size_t i = 0; i < few.size(); ++i) {
        const double right = 0.37 * few[i]["test_top1"].get<double>();
        CHECK(std::abs(right - std::round(right)) < 1e-6);
        CHECK(few[i]["train_top1"] == all[i]["train_top1"]);
        CHECK(few[i]["loss_total"] == all[i]["loss_total"]);
    }
}

TEST_CASE("training: a terminal gets a progress line") {
    const TemporaryFolder folder;
    // script(1) of util-linux gives the command a terminal.
    if (std::system("script --version >/dev/null 2>&1") != 0) {
        MESSAGE("skipped: no script(1)");
        return;
    }
    std::string line = "TERM=xterm ";
    for (const std::string& argument : command(train_arguments(folder_with_plans_of(teacher_run(), folder / "run"),
                                                               {"solver.epochs=1", "solver.batch_size=16"})))
        line += "'" + argument + "' ";
    const Outcome outcome = Process({"script", "-qec", line, "/dev/null"}).wait();
    CHECK(outcome.exit_code == 0);
    CHECK(outcome.out.find("\rEpoch: [1][10/13] eta ") != std::string::npos);
    CHECK(outcome.out.find(" img/s ") != std::string::npos);
}
