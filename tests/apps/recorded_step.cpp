// What a step asks of its backend, step by step. A CUDA graph replays the calls of one step with the addresses of that step:
// so later steps must make the same calls with the same addresses, and none that allocates, copies to the host or waits.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "apps/train/step_runner.h"
#include "data/feeds/resident_feed.h"
#include "data/readers/load.h"
#include "engine/optimizers/optimizers.h"
#include "layers/network.h"
#include "losses/methods.h"
#include "tests/support/recording_backend.h"

using namespace mlkd;
using test::RecordingBackend;

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

std::string name_of_call(const std::string& call) { return call.substr(0, call.find(' ')); }

}  // namespace

TEST_CASE("recorded step: the second and the third step make the same calls on the same memory, and none that a graph forbids") {
    for (const std::string& name : all_methods().names()) {
        CAPTURE(name);
        RecordingBackend backend;
        StepArena arena(backend, 1 << 20);
        const auto student = make_network(backend, "resnet8", {classes, Role::trained});
        const auto teacher = make_network(backend, "resnet8x4", {classes, Role::frozen});
        student->parameters().initialise(1);
        teacher->parameters().initialise(2);
        teacher->fold();
        const auto method = method_called(name);
        TrainingStep step(backend, arena, *student, method->has_teacher() ? teacher.get() : nullptr, *method, *make_optimizer("SGD"));
        step.set_learning_rate(0.01);
        PersistentArena inputs(backend);
        for (const std::int64_t batch : {6, 3}) {  // the last, smaller batch is a graph of its own
            CAPTURE(batch);
            const Tensor images = inputs.allocate("images", DType::f32, {step.views() * batch, 32, 32, 3});
            const Tensor target = inputs.allocate("target", DType::i32, {batch});
            for (std::int64_t i = 0; i < images.elements(); ++i) images.as<float>()[i] = static_cast<float>(i % 17) / 8 - 1;
            const auto calls_of_a_step = [&] {
                backend.take();
                step.run(images, target);
                return backend.take();
            };
            calls_of_a_step();  // allocates
            const std::vector<std::string> second = calls_of_a_step(), third = calls_of_a_step();
            CHECK(second == third);
            std::set<std::string> kinds;
            for (const std::string& call : second) kinds.insert(name_of_call(call));
            CHECK(kinds.count("convolution_backward_filter") == 1);
            for (const char* forbidden : {"allocate", "copy_to_host", "copy_from_host", "synchronize"}) {
                CAPTURE(forbidden);
                CHECK(kinds.count(forbidden) == 0);
            }
        }
    }
}

namespace {

struct Trained {
    std::vector<float> values, momenta, statistics;
    std::int64_t batches_tracked;
    LossMeter::Reading losses;
    bool recorded;
};

std::vector<float> elements(const Tensor& tensor) { return {tensor.as<float>(), tensor.as<float>() + tensor.elements()}; }

// Three epochs on a dataset in device memory, each with a learning rate of its own and a smaller last batch; the second one
// is broken off and taken up again where it was.
Trained trained(const std::string& name, bool use_graph, int teams = 0, int team_size = 0, bool late_branch = false) {
    RecordingBackend backend(teams, team_size, late_branch);
    StepArena arena(backend, 1 << 20);
    PersistentArena memory(backend);
    const Dataset dataset = make_synthetic(19, classes, Split::train);
    const auto student = make_network(backend, "resnet8", {classes, Role::trained});
    const auto teacher = make_network(backend, "resnet8x4", {classes, Role::frozen});
    student->parameters().initialise(1);
    teacher->parameters().initialise(2);
    teacher->fold();
    const auto method = method_called(name);
    TrainingStep step(backend, arena, *student, method->has_teacher() ? teacher.get() : nullptr, *method, *make_optimizer("SGD"));
    LossMeter meter(backend, memory, static_cast<int>(step.parts().size()));
    ResidentFeed feed(backend, dataset, {.batch_size = 4, .views = step.views(), .seed = 5, .shuffle = true, .augment = true}, DType::f32);
    StepRunner runner(backend, feed, step, meter, use_graph);
    for (std::uint32_t epoch = 1; epoch <= 3; ++epoch) {
        step.set_learning_rate(0.02 / epoch);
        step.set_epoch(static_cast<int>(epoch));
        feed.start_epoch(epoch, 0);
        int done = 0;
        while (const std::int64_t size = feed.next()) {
            runner.run(size);
            if (++done == 2 && epoch == 2) {
                feed.next();  // a batch that is given and not used
                feed.start_epoch(epoch, done);
            }
        }
        CHECK(done == 5);
    }
    return {elements(student->parameters().values()),
            elements(step.optimizer().slots()[0].tensor),
            elements(student->parameters().statistics()),
            student->parameters().batches_tracked,
            meter.read(),
            runner.recording(4) != nullptr && runner.recording(3) != nullptr};
}

}  // namespace

TEST_CASE("recorded step: replays give the bits of steps that are launched one by one") {
    for (const std::string& name : all_methods().names())
        for (const int team_size : {0, 3}) {  // the forms of a CPU's kernels, and those of a GPU's
            CAPTURE(name);
            CAPTURE(team_size);
            const int teams = team_size == 0 ? 0 : 2;
            const Trained replayed = trained(name, true, teams, team_size), launched = trained(name, false, teams, team_size);
            CHECK(replayed.recorded);
            CHECK_FALSE(launched.recorded);
            CHECK(replayed.values == launched.values);
            CHECK(replayed.momenta == launched.momenta);
            CHECK(replayed.statistics == launched.statistics);
            CHECK(replayed.batches_tracked == launched.batches_tracked);
            CHECK(replayed.batches_tracked == 15 * make_method(name)->views());
            CHECK(replayed.losses.sums == launched.losses.sums);
            CHECK(replayed.losses.samples == 3 * 19);
            CHECK(replayed.losses.steps == 15);
        }
}

// A device may run the second branch at any time between fork and join. In order of the calls it runs as early as possible.
TEST_CASE("recorded step: a second branch that runs as late as possible gives the same bits") {
    for (const std::string method : {"none", "mlkd_official"})
        for (const bool use_graph : {false, true}) {
            CAPTURE(method);
            CAPTURE(use_graph);
            const Trained late = trained(method, use_graph, 1, 2, true), early = trained(method, use_graph, 1, 2, false);
            CHECK(late.values == early.values);
            CHECK(late.statistics == early.statistics);
            CHECK(late.losses.sums == early.losses.sums);
        }
}

// docs/cuda.md lists them. A launch costs a GPU about a microsecond, whatever it does: change the number there with this one.
TEST_CASE("recorded step: how many launches a step of MLKD is on a GPU") {
    RecordingBackend backend(1, 2, true);
    StepArena arena(backend, 1 << 20);
    PersistentArena memory(backend);
    const Dataset dataset = make_synthetic(4, 100, Split::train);
    const auto student = make_network(backend, "resnet8x4", {100, Role::trained});
    const auto teacher = make_network(backend, "resnet32x4", {100, Role::frozen});
    student->parameters().initialise(1);
    teacher->parameters().initialise(2);
    teacher->fold();
    TrainingStep step(backend, arena, *student, teacher.get(), *make_method("mlkd_official"), *make_optimizer("SGD"));
    LossMeter meter(backend, memory, static_cast<int>(step.parts().size()));
    ResidentFeed feed(backend, dataset, {.batch_size = 2, .views = 2, .seed = 5, .shuffle = true, .augment = true}, DType::f32);
    StepRunner runner(backend, feed, step, meter, true);
    feed.start_epoch(1, 0);
    while (const std::int64_t size = feed.next()) runner.run(size);
    REQUIRE(runner.recording(2) != nullptr);
    CHECK(runner.recording(2)->kernels() == 110);
    // Of two steps, the second one recorded: the teacher's 34 convolutions and its head, and 10 filters' gradients each.
    CHECK(backend.beside() == 2 * 45);
}
