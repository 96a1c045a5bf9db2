// The losses on a GPU against the CPU's: every configuration, both forms, both sides of the Gram matrices.
#include <doctest/doctest.h>

#include <cstring>

#include "losses/mlkd/distillation.h"
#include "tests/cuda/both_devices.h"
#include "tests/losses/configs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Size {
    std::int64_t samples, classes;
};

std::vector<Tensor> loss_of(DeviceTensors& tensors, const DistillationConfig& config, const Size& size, LossForm form, double apart) {
    Backend& backend = tensors.backend();
    DistillationLoss loss(backend, config, form);
    StepArena arena(backend, 1);
    const std::int64_t rows = view_count(config.levels) * size.samples;
    const Shape shape{rows, size.classes};
    // A teacher at a distance of about `apart` from the student.
    std::vector<float> student(static_cast<std::size_t>(shape.elements())), teacher(student.size());
    RandomSequence random(17, Purpose::test, 2, 0);
    for (std::size_t i = 0; i < student.size(); ++i) {
        teacher[i] = 12 * random.uniform() - 6;
        student[i] = teacher[i] + static_cast<float>(apart) * (2 * random.uniform() - 1);
    }
    const Tensor student_logits = tensors.copied(student.data(), shape, DType::f32);
    const Tensor teacher_logits = config.levels == Levels::none ? Tensor{} : tensors.copied(teacher.data(), shape, DType::f32);
    const Tensor target = tensors.labels(size.samples, static_cast<std::uint32_t>(size.classes));
    const Tensor losses = tensors.output({loss_part_count}), dL_dlogits = tensors.output(shape);
    for (int step = 0; step < 2; ++step) {  // a second one finds counters as the first one left them
        arena.begin("loss");
        loss.forward_backward(arena, losses, dL_dlogits, student_logits, teacher_logits, target);
        arena.end();
    }
    return {losses, dL_dlogits};
}

void compare(Backend& gpu, const DistillationConfig& config, const Size& size, LossForm form, double apart) {
    CAPTURE(size.samples);
    CAPTURE(size.classes);
    CAPTURE(apart);
    CAPTURE(static_cast<int>(form));
    compare_devices(gpu, 5e-6, [&](DeviceTensors& tensors) {
        // The CPU takes the form that it takes in training; both have their own tests against float64.
        const bool on_gpu = &tensors.backend() == &gpu;
        return loss_of(tensors, config, size, on_gpu ? form : LossForm::automatic, apart);
    });
}

}  // namespace

TEST_SUITE_BEGIN("kernels");

TEST_CASE("both devices: the loss, all configurations, in several launches") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const auto& [name, config] : all_configs()) {
        CAPTURE(name);
        for (const Size& size : {Size{5, 7}, Size{33, 57}, Size{70, 12}}) compare(*gpu, config, size, LossForm::separate, 2);
    }
}

TEST_CASE("both devices: the loss in one launch") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const auto& [name, config] : all_configs()) {
        if (config.levels == Levels::none || config.divergence == Divergence::kl) continue;
        CAPTURE(name);
        for (const Size& size : {Size{2, 3}, Size{19, 9}, Size{33, 57}, Size{64, 100}, Size{70, 256}, Size{243, 10}})
            for (const double apart : {2.0, 1e-4}) compare(*gpu, config, size, LossForm::fused, apart);
    }
}

TEST_SUITE_END();

TEST_CASE("both devices: large losses") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const auto& [name, config] : all_configs()) {
        if (config.divergence == Divergence::kl) continue;
        CAPTURE(name);
        for (const Size& size : {Size{257, 100}, Size{129, 1000}, Size{16, 20011}}) compare(*gpu, config, size, LossForm::automatic, 0.1);
    }
}

TEST_CASE("a GPU's loss repeats its bits") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const LossForm form : {LossForm::fused, LossForm::separate}) {
        std::vector<double> first;
        for (int run = 0; run < 5; ++run) {
            DeviceTensors tensors(*gpu);
            const std::vector<Tensor> results = loss_of(tensors, config_of(Levels::released), {64, 100}, form, 1);
            std::vector<double> values = tensors.fetched(results[0]);
            const std::vector<double> gradient = tensors.fetched(results[1]);
            values.insert(values.end(), gradient.begin(), gradient.end());
            if (run == 0) first = values;
            CHECK(values == first);
        }
    }
}
