#include "engine/tape.h"

#include <utility>

#include "engine/error.h"
#include "engine/kernels/elementwise.h"

namespace mlkd {

void Tape::reset() {
    nodes_.clear();
    gradients_.clear();
}

Variable Tape::variable(const Tensor& value) {
    gradients_.emplace_back();
    return Variable{value, &gradients_.back()};
}

void Tape::record(std::string_view name, std::function<void()> backward) {
    nodes_.push_back({std::string(name), std::move(backward)});
}

void Tape::backward() {
    for (auto node = nodes_.rbegin(); node != nodes_.rend(); ++node) node->backward();
}

void Tape::contribute(Gradient& gradient, const Tensor& like, std::string_view name,
                      const std::function<void(const Tensor&)>& write) {
    if (!gradient.touched) {
        allocate(gradient, like, name);
        write(gradient.tensor);
        gradient.touched = true;
        return;
    }
    StepArena::Scope scope(arena_);
    const Tensor addend = arena_.allocate(std::string("addend ") + std::string(name), like.dtype, like.shape);
    write(addend);
    add_to(backend_.stream(), gradient.tensor, addend);
}

void Tape::accumulate(Gradient& gradient, const Tensor& like, std::string_view name,
                      const std::function<void(const Tensor&, bool)>& write) {
    allocate(gradient, like, name);
    write(gradient.tensor, gradient.touched);
    gradient.touched = true;
}

void Tape::allocate(Gradient& gradient, const Tensor& like, std::string_view name) {
    if (gradient.tensor.empty()) gradient.tensor = arena_.allocate(std::string("grad ") + std::string(name), like.dtype, like.shape);
}

void Tape::contribute(Gradient& gradient, const Tensor& finished) {
    if (!gradient.touched && gradient.tensor.empty()) {
        gradient.tensor = finished;
    } else if (!gradient.touched) {
        copy(backend_.stream(), gradient.tensor, finished);
    } else {
        add_to(backend_.stream(), gradient.tensor, finished);
    }
    gradient.touched = true;
}

}  // namespace mlkd
