#include "losses/method.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace mlkd {

Loss::Loss(Backend& backend, const Method& method, double label_smoothing)
    : backend_(backend), method_(method.clone()), label_smoothing_(label_smoothing), memory_(backend) {
    method_->prepare(backend, label_smoothing);
    if (const auto count = static_cast<std::int64_t>(method_->numbers(1).size()); count > 0) {
        numbers_ = memory_.allocate("numbers of the method", DType::f32, {count});
        set_epoch(1);
    }
}

std::vector<std::string> Loss::parts() const {
    std::vector<std::string> names = method_->parts();
    names.emplace_back("total");
    return names;
}

void Loss::set_epoch(int epoch) {
    for (const auto& [name, value] : method_->numbers(epoch)) set_number(name, value);
}

void Loss::set_number(const std::string& name, double value) {
    const auto numbers = method_->numbers(1);
    const auto rounded = static_cast<float>(value);
    for (std::size_t i = 0; i < numbers.size(); ++i)
        if (name == numbers[i].name) return backend_.copy_from_host(numbers_.as<float>() + i, &rounded, sizeof rounded);
    throw Error(fmt::format("{}: has no number '{}'", method_->name(), name));
}

void Loss::forward_backward(StepArena& arena, const Tensor& losses, const Tensor& dL_dlogits, const Tensor& student, const Tensor& teacher,
                            const Tensor& target) {
    MLKD_CHECK(student.shape.rank() == 2 && student.dim(1) >= 2,
               "loss: logits " + student.shape.text() + " of at least two classes needed");
    const std::int64_t rows = student.dim(0), views = method_->views(), samples = rows / views;
    MLKD_CHECK(samples >= 1 && samples * views == rows && target.shape == Shape{samples},
               fmt::format("loss: logits {} of {} view(s) and targets {} do not fit", student.shape.text(), views, target.shape.text()));
    MLKD_CHECK(dL_dlogits.shape == student.shape && losses.shape == Shape{static_cast<std::int64_t>(method_->parts().size()) + 1},
               "loss: outputs " + dL_dlogits.shape.text() + ", " + losses.shape.text() + " do not fit logits " + student.shape.text());
    MLKD_CHECK(!method_->has_teacher() || teacher.shape == student.shape,
               "loss: logits of teacher " + teacher.shape.text() + " and student " + student.shape.text() + " differ in shape");
    const StepArena::Scope scope(arena);
    method_->forward_backward({backend_, arena, losses, dL_dlogits, student, teacher, target, numbers_, label_smoothing_});
}

void Loss::gradient_in_f64(StepArena& arena, const Tensor& dL_dlogits, const Tensor& student, const Tensor& target) {
    const StepArena::Scope scope(arena);
    method_->gradient_in_f64({backend_, arena, {}, dL_dlogits, student, {}, target, numbers_, label_smoothing_});
}

}  // namespace mlkd
