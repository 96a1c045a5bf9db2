// Whole steps on a GPU: against the CPU's, and as a graph against launch by launch.
#include <doctest/doctest.h>

#include "apps/train/step_runner.h"
#include "data/feeds/resident_feed.h"
#include "data/readers/load.h"
#include "engine/optimizers/optimizers.h"
#include "losses/methods.h"
#include "tests/cuda/both_devices.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

constexpr int classes = 10;

// With small weights and few temperatures, where it has any.
std::unique_ptr<Method> method_called(const std::string& name) {
    auto method = make_method(name);
    for (const Assignment& assignment :
         {Assignment{"loss.ce_weight", 1.0}, Assignment{"loss.kd_weight", 1.0}, Assignment{"temperatures", std::vector<double>{4, 2}}})
        if (has_setting(*method, assignment.key)) set(*method, assignment);
    return method;
}

struct Trained {
    std::vector<double> values, momenta, statistics, losses;
    int kernels = 0;
};

// Some epochs of 19 synthetic images in batches of 8.
Trained trained(Backend& backend, const std::string& name, DType precision, int epochs, bool use_graph) {
    StepArena arena(backend, 1);  // a block for each tensor: on the simulated GPU it is a fault to leave one
    PersistentArena memory(backend);
    const Dataset dataset = make_synthetic(19, classes, Split::train);
    const auto student = make_network(backend, "resnet8", {classes, Role::trained, precision});
    const auto teacher = make_network(backend, "resnet14", {classes, Role::frozen, precision});
    student->parameters().initialise(1);
    teacher->parameters().initialise(2);
    teacher->fold();
    const auto method = method_called(name);
    TrainingStep step(backend, arena, *student, method->has_teacher() ? teacher.get() : nullptr, *method, *make_optimizer("SGD"));
    LossMeter meter(backend, memory, static_cast<int>(step.parts().size()));
    ResidentFeed feed(backend, dataset, {.batch_size = 8, .views = step.views(), .seed = 5, .shuffle = true, .augment = true}, precision);
    StepRunner runner(backend, feed, step, meter, use_graph);
    for (int epoch = 1; epoch <= epochs; ++epoch) {
        step.set_learning_rate(0.02 / epoch);
        step.set_epoch(epoch);
        feed.start_epoch(static_cast<std::uint32_t>(epoch), 0);
        while (const std::int64_t size = feed.next()) runner.run(size);
    }
    const DeviceTensors device(backend);
    const LossMeter::Reading reading = meter.read();
    const Recording* recording = runner.recording(8);
    return {device.fetched(student->parameters().values()), device.fetched(step.optimizer().slots()[0].tensor),
            device.fetched(student->parameters().statistics()), reading.sums, recording == nullptr ? 0 : recording->kernels()};
}

}  // namespace

TEST_CASE("both devices: an epoch of training ends near the same weights") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    const auto cpu = make_cpu_backend({.threads = 0, .convolution = "direct", .plan_file = ""});
    for (const char* name : {"none", "kd", "mlkd", "mlkd_official"}) {
        CAPTURE(name);
        const Trained here = trained(*cpu, name, DType::f32, 1, true), there = trained(*gpu, name, DType::f32, 1, true);
        CHECK(distance(there.values, here.values) < 1e-3);
        CHECK(distance(there.statistics, here.statistics) < 1e-3);
        CHECK(distance(there.losses, here.losses) < 1e-3);
    }
}

TEST_CASE("a GPU's graph gives the bits of a step launched kernel by kernel, and a second run those of the first") {
    struct Setting {
        MathMode convolutions;
        DType precision;
    };
    for (const Setting& setting : {Setting{MathMode::fp32, DType::f32}, {MathMode::tf32, DType::f32}, {MathMode::tf32, DType::bf16}}) {
        const TemporaryFolder folder;
        CudaOptions options;
        options.convolutions = setting.convolutions;
        options.plan_file = folder / "plans.json";
        const auto gpu = gpu_backend(options);
        if (gpu == nullptr) return;
        for (const char* name : {"none", "mlkd_official"}) {
            CAPTURE(name);
            CAPTURE(name_of(setting.precision));
            const auto run = [&](bool use_graph) { return trained(*gpu, name, setting.precision, 2, use_graph); };
            const Trained graph = run(true), again = run(true), launched = run(false);
            MESSAGE("kernels of a step: ", graph.kernels);
            CHECK(launched.kernels == 0);
            CHECK(graph.values == launched.values);
            CHECK(graph.momenta == launched.momenta);
            CHECK(graph.statistics == launched.statistics);
            CHECK(graph.losses == launched.losses);
            CHECK(graph.values == again.values);
        }
    }
}
