#include "apps/train/training_step.h"

#include <fmt/format.h>

#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "engine/types.h"

namespace mlkd {

TrainingStep::TrainingStep(Backend& backend, StepArena& arena, Network& student, Network* teacher, const Method& method,
                           const Optimizer& optimizer, double label_smoothing)
    : backend_(backend),
      arena_(arena),
      student_(student),
      teacher_(teacher),
      loss_(backend, method, label_smoothing),
      memory_(backend),
      optimizer_(backend, memory_, optimizer, student.parameters().values()),
      lr_(memory_.allocate("learning rate", student.parameters().values().dtype, {1})),
      losses_(memory_.allocate("losses", DType::f32, {static_cast<std::int64_t>(loss_.parts().size())})),
      counters_(memory_.allocate("accuracy", DType::f64, {accuracy_counter_count})) {
    MLKD_CHECK((teacher == nullptr) != method.has_teacher(), "training step: a teacher belongs to distillation, and only to it");
    MLKD_CHECK(teacher == nullptr || teacher->precision() == student.precision(), "training step: teacher and student differ in precision");
}

void TrainingStep::set_learning_rate(double lr) {
    with_real_type(lr_.dtype, [&](auto zero) {
        const auto value = static_cast<decltype(zero)>(lr);
        backend_.copy_from_host(lr_.data, &value, sizeof value);
    });
}

void TrainingStep::run(const Tensor& images, const Tensor& target) {
    enqueue(images, target);
    count_step();
}

void TrainingStep::run_without_update(const Tensor& images, const Tensor& target) {
    enqueue_without_update(images, target, nullptr);
    count_step();
}

void TrainingStep::count_step() { student_.parameters().batches_tracked += views(); }

void TrainingStep::enqueue(const Tensor& images, const Tensor& target, const LossMeter* meter) {
    enqueue_without_update(images, target, meter);
    ParameterStore& parameters = student_.parameters();
    optimizer_.update(parameters.values(), parameters.gradients(), lr_, parameters.rounded());
}

void TrainingStep::enqueue_without_update(const Tensor& images, const Tensor& target, const LossMeter* meter) {
    MLKD_CHECK(images.dim(0) == views() * target.dim(0), "training step: as many images as targets in each view");
    arena_.begin(fmt::format("train {} {}", student_.name(), images.dim(0)));
    forward_backward(images, target, meter);
    arena_.end();
}

void TrainingStep::forward_backward(const Tensor& images, const Tensor& target, const LossMeter* meter) {
    Tensor teacher_logits;
    if (teacher_ != nullptr) {  // beside the student, where the device can
        backend_.fork();
        teacher_logits = teacher_->evaluate(images, backend_.side());
    }
    logits_ = student_.forward(images, views());
    if (teacher_ != nullptr) {
        backend_.join();
        teacher_logits = in_f32("teacher logits f32", teacher_logits);
    }
    const Tensor student_logits = in_f32("logits f32", logits_), dL_dlogits = student_.logits_gradient();
    if (dL_dlogits.dtype == DType::f32) {
        loss_.forward_backward(arena_, losses_, dL_dlogits, student_logits, teacher_logits, target);
    } else {
        const Tensor rounded = arena_.allocate("grad logits f32", DType::f32, dL_dlogits.shape);
        loss_.forward_backward(arena_, losses_, rounded, student_logits, teacher_logits, target);
        convert(backend_.stream(), dL_dlogits, rounded);
        loss_.gradient_in_f64(arena_, dL_dlogits, logits_, target);
    }
    accumulate_accuracy(backend_.stream(), arena_, counters_, student_logits.slice(0, target.dim(0)), target,
                        meter == nullptr ? AddLosses{} : meter->adding(losses_, target.dim(0)));
    student_.backward();
}

Tensor TrainingStep::in_f32(const std::string& name, const Tensor& logits) {
    if (logits.dtype == DType::f32) return logits;
    const Tensor rounded = arena_.allocate(name, DType::f32, logits.shape);
    convert(backend_.stream(), rounded, logits);
    return rounded;
}

}  // namespace mlkd
