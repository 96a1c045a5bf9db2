#pragma once
// What the kernels of all optimizers share: each parameter by itself, and its copy in bfloat16 where it has one.
#include "engine/optimizers/optimizer.h"
#include "engine/types.h"

namespace mlkd {

// rule(i, value, gradient) returns the new value of parameter i.
template <class T, class Rule>
struct UpdateKernel {
    T* values;
    const T* gradients;
    bfloat16* rounded_values;
    const bfloat16* rounded_gradients;
    std::int64_t rounded;  // how many
    Rule rule;

    MLKD_HD void operator()(std::int64_t i) const {
        const T gradient = i < rounded ? static_cast<T>(static_cast<float>(rounded_gradients[i])) : gradients[i];
        const T value = rule(i, values[i], gradient);
        values[i] = value;
        if (i < rounded) rounded_values[i] = bfloat16(static_cast<float>(value));
    }
};

// One launch over all parameters, which are of type T.
template <class T, class Rule>
void update_each(const Stream& stream, const UpdateTensors& tensors, const Rule& rule) {
    const bool rounds = !tensors.rounded.values.empty();
    for_each_index(stream, tensors.values.elements(),
                   UpdateKernel<T, Rule>{
                       tensors.values.as<T>(), tensors.gradients.as<T>(), rounds ? tensors.rounded.values.as<bfloat16>() : nullptr,
                       rounds ? tensors.rounded.gradients.as<bfloat16>() : nullptr, rounds ? tensors.rounded.values.elements() : 0, rule});
}

}  // namespace mlkd
