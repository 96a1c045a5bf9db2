#include "engine/optimizers/optimizer.h"

#include "engine/backend.h"
#include "engine/error.h"

namespace mlkd {

OptimizerState::OptimizerState(Backend& backend, PersistentArena& memory, const Optimizer& optimizer, const Tensor& values)
    : backend_(backend), optimizer_(optimizer.clone()), name_(optimizer.name()) {
    for (const std::string& slot : optimizer_->slots()) slots_.push_back(memory.allocate(slot, values.dtype, values.shape));
    if (const auto count = static_cast<std::int64_t>(optimizer_->numbers().size()); count > 0)
        numbers_ = memory.allocate("numbers of the optimizer", DType::f64, {count});
}

void OptimizerState::update(const Tensor& values, const Tensor& gradients, const Tensor& lr, const RoundedParameters& rounded) {
    MLKD_CHECK(values.shape == gradients.shape, "optimizer: shapes differ");
    for (const Tensor& slot : slots_) MLKD_CHECK(slot.shape == values.shape, "optimizer: shapes differ");
    const std::int64_t count = rounded.values.empty() ? 0 : rounded.values.elements();
    MLKD_CHECK(count == 0 || (rounded.gradients.elements() == count && count <= values.elements()),
               "optimizer: shapes of bfloat16 copies differ");
    optimizer_->update(backend_.stream(), {values, gradients, lr, rounded, slots_, numbers_});
}

std::vector<OptimizerState::Named> OptimizerState::slots() const {
    std::vector<Named> named;
    for (const std::string& slot : optimizer_->slots()) named.push_back({slot, slots_[named.size()]});
    return named;
}

std::vector<OptimizerState::Named> OptimizerState::numbers() const {
    std::vector<Named> named;
    for (const std::string& number : optimizer_->numbers())
        named.push_back({number, numbers_.slice(static_cast<std::int64_t>(named.size()), 1)});
    return named;
}

double OptimizerState::read(const Tensor& number) const {
    double value = 0;
    backend_.copy_to_host(&value, number.data, sizeof value);
    return value;
}

void OptimizerState::write(const Tensor& number, double value) const { backend_.copy_from_host(number.data, &value, sizeof value); }

}  // namespace mlkd
