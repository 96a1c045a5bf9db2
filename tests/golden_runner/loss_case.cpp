#include <nlohmann/json.hpp>
#include <numeric>

#include "cases.h"
#include "device_data.h"
#include "tests/support/method_of_case.h"

namespace mlkd::golden {
namespace {

constexpr double loss_tolerance = 1e-5;  // values and gradients, relative

std::vector<float> floats(const SafetensorsFile& file, const std::string& name) {
    const auto span = file.tensor(name).as<float>();
    return {span.begin(), span.end()};
}

// The weak view's rows, then the strong view's where there are any.
std::vector<float> both_views(const SafetensorsFile& file, const std::string& network, int views) {
    std::vector<float> rows = floats(file, network + "_weak");
    if (views == 2) {
        const std::vector<float> strong = floats(file, network + "_strong");
        rows.insert(rows.end(), strong.begin(), strong.end());
    }
    return rows;
}

}  // namespace

Report run_loss_case(Backend& backend, const SafetensorsFile& file) {
    const std::unique_ptr<Method> method = test::method_of_case(file);
    Loss loss(backend, *method);
    test::set_numbers(loss, file);
    const std::vector<std::string> parts = loss.parts();
    const int views = method->views();
    const auto& shape = file.tensor("student_weak").shape;
    const std::int64_t batch = shape[0], classes = shape[1];

    PersistentArena memory(backend);
    StepArena arena(backend);
    const Shape logits_shape{views * batch, classes};
    const Tensor student = to_device(backend, memory, both_views(file, "student", views), logits_shape);
    const Tensor teacher = method->has_teacher() ? to_device(backend, memory, both_views(file, "teacher", views), logits_shape) : Tensor{};
    const auto target_span = file.tensor("target").as<std::int64_t>();
    const Tensor target = to_device(backend, memory, std::vector<std::int32_t>(target_span.begin(), target_span.end()), {batch});
    const Tensor losses = memory.allocate("losses", DType::f32, {static_cast<std::int64_t>(parts.size())});
    const Tensor gradient = to_device(backend, memory, std::vector<float>(static_cast<std::size_t>(views * batch * classes), NAN), logits_shape);

    arena.begin("loss");
    loss.forward_backward(arena, losses, gradient, student, teacher, target);
    arena.end();

    Report report;
    const std::vector<double> values = to_host(backend, losses);
    for (std::size_t part = 0; part < parts.size(); ++part)
        report.compare("loss." + parts[part], {values[part]}, expected_values(file, "loss." + parts[part]), loss_tolerance);
    for (int view = 0; view < views; ++view) {
        const std::string name = view == 0 ? "grad.student_weak" : "grad.student_strong";
        report.compare(name, to_host(backend, gradient.slice(view * batch, batch)), expected_values(file, name), loss_tolerance);
    }
    return report;
}

}  // namespace mlkd::golden
