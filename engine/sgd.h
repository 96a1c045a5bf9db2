#pragma once
// Stochastic gradient descent with momentum and weight decay, as PyTorch's SGD without dampening and Nesterov:
//     v ← momentum · v + (g + weight_decay · w),   w ← w − lr · v
// over all parameters of a network at once. With v = 0 at the start the first step is PyTorch's (v = g).
#include "engine/launch.h"
#include "engine/tensor.h"

namespace mlkd {

struct SgdSettings {
    double momentum = 0.9;
    double weight_decay = 5e-4;
};

// values, momenta, gradients (elements), lr (1): all f32, or all f64. lr lies in device memory: a step does not depend on
// the host.
void sgd_step(const Stream& stream, const Tensor& values, const Tensor& momenta, const Tensor& gradients, const Tensor& lr,
              const SgdSettings& settings);

}  // namespace mlkd
