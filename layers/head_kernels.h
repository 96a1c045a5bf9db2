#pragma once
// Kernels of the network's head. Outputs come first; all tensors of a call have one type, f32 or f64, but x and dL_dx may be
// bf16 where the rest is f32.
#include "engine/launch.h"
#include "engine/tensor.h"

namespace mlkd {

void mean_over_pixels(const Stream& stream, const Tensor& pooled, const Tensor& x);                    // (N, C) of (N, H, W, C)
void mean_over_pixels_backward(const Stream& stream, const Tensor& dL_dx, const Tensor& dL_dpooled);
void add_bias(const Stream& stream, const Tensor& y, const Tensor& bias);                              // y (N, O) += bias (O)
void sum_over_batch(const Stream& stream, const Tensor& sum, const Tensor& y);                         // (O) of (N, O)

}  // namespace mlkd
