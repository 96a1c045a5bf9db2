#include <cmath>

#include "apps/train/training_step.h"
#include "cases.h"
#include "device_data.h"
#include "engine/optimizers/optimizers.h"
#include "fill_rule.h"
#include "tests/support/method_of_case.h"

namespace mlkd::golden {
namespace {

constexpr double logits_tolerance = 1e-4;
constexpr double gradient_tolerance = 1e-3;
constexpr double trajectory_tolerance = 2e-3;

std::unique_ptr<Optimizer> sgd_of(const SafetensorsFile& file) {
    return make_optimizer("SGD", {{"momentum", std::stod(file.meta("momentum"))}, {"weight_decay", std::stod(file.meta("weight_decay"))}});
}

std::vector<double> evaluate(Backend& backend, Network& network, const Tensor& images) {
    network.fold();
    return to_host(backend, network.evaluate(images));
}

// [‖g‖, g · projection] of every parameter's gradient. The dot product may nearly vanish, so it is compared on the
// scale of what it could be: ‖g‖ · ‖projection‖ is of the order of the norm times sqrt(elements / 3).
void compare_gradients(Report& report, const SafetensorsFile& file, const Network& network, const std::string& tag) {
    const ParameterStore& store = network.parameters();
    for (const Parameter& parameter : store.parameters()) {
        const std::vector<float> gradient = store.in_pytorch_order(store.part_of(store.gradients(), parameter));
        const std::vector<double> projection = symmetric(tag + "/project/" + parameter.name, gradient.size(), 1.0);
        double square = 0, dot = 0;
        for (std::size_t i = 0; i < gradient.size(); ++i) {
            square += static_cast<double>(gradient[i]) * gradient[i];
            dot += gradient[i] * projection[i];
        }
        report.compare("grad." + parameter.name, {std::sqrt(square), dot}, expected_values(file, "grad." + parameter.name), gradient_tolerance,
                       Flips::gradient);
    }
}

void compare_buffers(Report& report, const SafetensorsFile& file, const Network& network) {
    for (const auto& [name, tensor] : network.parameters().state()) {
        if (!file.tensors.contains("buffer." + name)) continue;
        std::vector<double> got;
        if (tensor.dtype == DType::f32) got.assign(tensor.as<float>().begin(), tensor.as<float>().end());
        else got.assign(tensor.as<std::int64_t>().begin(), tensor.as<std::int64_t>().end());
        report.compare("buffer." + name, got, expected_values(file, "buffer." + name), logits_tolerance);
    }
}

}  // namespace

Report run_model_case(Backend& backend, const SafetensorsFile& file, DType precision) {
    const std::string& model = file.meta("model");
    const int classes = std::stoi(file.meta("classes"));
    const std::int64_t batch = std::stoll(file.meta("batch"));
    const auto network = make_network(backend, model, {classes, Role::trained, precision});
    network->parameters().set_state(filled_state(network->parameters().state(), model), "fill rule");

    PersistentArena memory(backend);
    StepArena arena(backend);
    const Tensor images = to_device_as(precision, backend, memory, filled_images(model + "/input", batch), {batch, 32, 32, 3});
    const auto target_span = file.tensor("target").as<std::int64_t>();
    const Tensor target = to_device(backend, memory, std::vector<std::int32_t>(target_span.begin(), target_span.end()), {batch});

    Report report;
    report.compare("parameters", {static_cast<double>(network->parameters().trainable_elements())}, {std::stod(file.meta("parameters"))}, 1e-9);
    report.compare("eval.logits", evaluate(backend, *network, images), expected_values(file, "eval.logits"), logits_tolerance);

    TrainingStep step(backend, arena, *network, nullptr, *make_method("none"), *sgd_of(file));
    step.set_learning_rate(std::stod(file.meta("lr")));
    for (int i = 0; i < 3; ++i) {
        step.run(images, target);
        const std::string name = "loss.step" + std::to_string(i);
        report.compare(name, {to_host(backend, step.losses())[0]}, expected_values(file, name), trajectory_tolerance,
                       i == 0 ? Flips::nothing : Flips::training);
        if (i > 0) continue;
        report.compare("train.logits", to_host(backend, step.logits()), expected_values(file, "train.logits"), logits_tolerance);
        compare_gradients(report, file, *network, model);
        compare_buffers(report, file, *network);
    }
    report.compare("eval.logits.step3", evaluate(backend, *network, images), expected_values(file, "eval.logits.step3"),
                   trajectory_tolerance, Flips::training);
    return report;
}

Report run_trajectory_case(Backend& backend, const SafetensorsFile& file, DType precision) {
    const std::string& name = file.meta("name");
    const int classes = std::stoi(file.meta("classes"));
    const std::int64_t batch = std::stoll(file.meta("batch"));
    const int steps = std::stoi(file.meta("steps"));
    const std::unique_ptr<Method> method = test::method_of_case(file);
    const int views = method->views();

    const auto student = make_network(backend, file.meta("student"), {classes, Role::trained, precision});
    student->parameters().set_state(filled_state(student->parameters().state(), name + "/student"), "fill rule");
    std::unique_ptr<Network> teacher;
    if (method->has_teacher()) {
        teacher = make_network(backend, file.meta("teacher"), {classes, Role::frozen, precision});
        teacher->parameters().set_state(filled_state(teacher->parameters().state(), name + "/teacher"), "fill rule");
        teacher->fold();
    }

    StepArena arena(backend);
    TrainingStep step(backend, arena, *student, teacher.get(), *method, *sgd_of(file));
    step.set_learning_rate(std::stod(file.meta("lr")));
    std::vector<double> losses;  // (steps, 5)
    for (int k = 0; k < steps; ++k) {
        PersistentArena memory(backend);
        std::vector<float> images = filled_images(name + "/weak/" + std::to_string(k), batch);
        if (views == 2) {
            const std::vector<float> strong = filled_images(name + "/strong/" + std::to_string(k), batch);
            images.insert(images.end(), strong.begin(), strong.end());
        }
        std::vector<std::int32_t> targets;
        for (double u : uniform(name + "/target/" + std::to_string(k), static_cast<std::size_t>(batch)))
            targets.push_back(static_cast<std::int32_t>(std::floor(u * classes)));
        step.run(to_device_as(precision, backend, memory, images, {views * batch, 32, 32, 3}),
                 to_device(backend, memory, targets, {batch}));
        for (double value : to_host(backend, step.losses())) losses.push_back(value);
    }

    Report report;
    const std::vector<double> expected = expected_values(file, "losses");
    const std::size_t parts = losses.size() / static_cast<std::size_t>(steps);
    report.compare("losses", losses, expected, trajectory_tolerance, Flips::training);
    if (expected.size() == losses.size())
        report.compare("losses of step 0", {losses.begin(), losses.begin() + static_cast<std::ptrdiff_t>(parts)},
                       {expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(parts)}, trajectory_tolerance);
    PersistentArena memory(backend);
    const Tensor probe = to_device_as(precision, backend, memory, filled_images(name + "/probe", batch), {batch, 32, 32, 3});
    report.compare("probe.logits", evaluate(backend, *student, probe), expected_values(file, "probe.logits"), trajectory_tolerance,
                   Flips::training);
    return report;
}

}  // namespace mlkd::golden
