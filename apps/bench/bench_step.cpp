// Whole steps on random images: training of a network alone, distillation, evaluation.
#include <fmt/format.h>

#include <memory>

#include "apps/bench/bench_case.h"
#include "apps/train/training_step.h"
#include "engine/optimizers/optimizers.h"
#include "losses/methods.h"

namespace mlkd {
namespace {

constexpr int classes = 100;
constexpr std::int64_t batch = 64;

// Forward, and backward for filters and inputs; the images need no gradient, so the stem has one of the two.
double training_flop_per_image(const Network& network) {
    const Graph& graph = network.graph();
    return 3 * network.flop_per_image() - graph.nodes().front().op->flop({graph.shape(graph.images())});
}

struct TrainingState {
    TrainingState(Backend& backend, DType precision, const std::string& student_name, const std::string& teacher_name, const Method& method)
        : arena(backend), tensors(backend), student(make_network(backend, student_name, {classes, Role::trained, precision})) {
        student->parameters().initialise(1);
        if (!teacher_name.empty()) {
            teacher = make_network(backend, teacher_name, {classes, Role::frozen, precision});
            teacher->parameters().initialise(2);
            teacher->fold();
        }
        step = std::make_unique<TrainingStep>(backend, arena, *student, teacher.get(), method, *make_optimizer("SGD"));
        step->set_learning_rate(0.01);
        images = tensors.uniform({step->views() * batch, 32, 32, 3}, -2, 2, precision);
        target = tensors.labels(batch, classes);
    }

    StepArena arena;
    BenchTensors tensors;
    std::unique_ptr<Network> student, teacher;
    std::unique_ptr<TrainingStep> step;
    Tensor images, target;
};

BenchWork prepare_training(Backend& backend, DType precision, const std::string& student, const std::string& teacher,
                           const Method& method) {
    auto state = std::make_shared<TrainingState>(backend, precision, student, teacher, method);
    const auto images = static_cast<double>(state->step->views() * batch);
    double flop = training_flop_per_image(*state->student);
    if (state->teacher != nullptr) flop += state->teacher->flop_per_image();
    return {.run = [state] { state->step->run(state->images, state->target); }, .flop = images * flop, .images = images};
}

BenchWork prepare_evaluation(Backend& backend, DType precision, const std::string& name) {
    struct State {
        explicit State(Backend& device) : arena(device), tensors(device) {}
        StepArena arena;
        BenchTensors tensors;
        std::unique_ptr<Network> network;
    };
    auto state = std::make_shared<State>(backend);
    state->network = make_network(backend, name, {classes, Role::frozen, precision});
    state->network->parameters().initialise(1);
    state->network->fold();
    const Tensor images = state->tensors.uniform({batch, 32, 32, 3}, -2, 2, precision), target = state->tensors.labels(batch, classes);
    const Tensor counters = state->tensors.zeros({accuracy_counter_count}, DType::f64);
    const auto run = [&backend, state, images, target, counters] {
        state->arena.begin("evaluate");
        accumulate_accuracy(backend.stream(), state->arena, counters, state->network->evaluate(images), target);
        state->arena.end();
    };
    return {.run = run, .flop = batch * state->network->flop_per_image(), .images = batch};
}

}  // namespace

void add_step_cases(std::vector<BenchCase>& cases, DType precision) {
    const auto training = [precision](const std::string& student, const std::string& teacher, const std::string& name) {
        const std::shared_ptr<const Method> method = make_method(name);
        return [=](Backend& backend) { return prepare_training(backend, precision, student, teacher, *method); };
    };
    for (const char* name : {"resnet20", "resnet8x4"}) {
        cases.push_back({fmt::format("step/train/{}/{}", name, batch), training(name, "", "none")});
        cases.push_back({fmt::format("step/evaluate/{}/{}", name, batch),
                         [name, precision](Backend& backend) { return prepare_evaluation(backend, precision, name); }});
    }
    for (const char* method : {"mlkd", "mlkd_official"})
        cases.push_back({fmt::format("step/{}/resnet32x4_resnet8x4/{}", method, batch), training("resnet8x4", "resnet32x4", method)});
}

}  // namespace mlkd
