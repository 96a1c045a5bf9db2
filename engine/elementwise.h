#pragma once
// Element-wise kernels on float32 tensors of one shape. Outputs come first.
#include "engine/launch.h"
#include "engine/tensor.h"

namespace mlkd {

void add_to(const Stream& stream, const Tensor& sum, const Tensor& addend);  // sum += addend
void copy(const Stream& stream, const Tensor& to, const Tensor& from);       // to = from
void fill(const Stream& stream, const Tensor& to, float value);              // to = value

}  // namespace mlkd
