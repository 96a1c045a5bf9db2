#pragma once
// Element-wise kernels on tensors of one shape, f32, f64 or bf16 (computed in float32, then rounded); but for convert() of one
// type. Outputs come first.
#include "engine/kernels/launch.h"
#include "engine/tensor.h"

namespace mlkd {

void add_to(const Stream& stream, const Tensor& sum, const Tensor& addend);  // sum += addend
void copy(const Stream& stream, const Tensor& to, const Tensor& from);       // to = from
void convert(const Stream& stream, const Tensor& to, const Tensor& from);    // to = from, each of its own type
void fill(const Stream& stream, const Tensor& to, float value);              // to = value

}  // namespace mlkd
