#pragma once
// Stochastic gradient descent with momentum and weight decay, as PyTorch's SGD without dampening and Nesterov:
//     v ← momentum · v + (g + weight_decay · w),   w ← w − lr · v
// over all parameters of a network at once. With v = 0 at the start the first step is PyTorch's (v = g).
#include "engine/kernels/launch.h"
#include "engine/tensor.h"

namespace mlkd {

struct SgdSettings {
    double momentum = 0.9;
    double weight_decay = 5e-4;
};

// Parameters that the network computes with in bfloat16: rounded copies of the first so many of `values`, which are then
// their master copies, and the gradients of these; both (count) bf16. Empty tensors: none.
struct RoundedParameters {
    Tensor values, gradients;
};

// values, momenta, gradients (elements), lr (1): all f32, or all f64. lr lies in device memory: a step does not depend on
// the host. Where there are rounded parameters, their gradients take the place of the first `gradients`, and the rounded
// values follow the new ones.
void sgd_step(const Stream& stream, const Tensor& values, const Tensor& momenta, const Tensor& gradients, const Tensor& lr,
              const SgdSettings& settings, const RoundedParameters& rounded = {});

}  // namespace mlkd
