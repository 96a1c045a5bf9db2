#pragma once
// The three directions of a convolution in double by plain loops, an element of the result at a time: the reference precision
// of the CUDA backend. Correct, not quick.
#include "engine/kernels/launch.h"
#include "engine/vendor_calls.h"

namespace mlkd::cuda {

// Operands in double on the stream's device; the direction says which one is written.
void reference_convolution(const Stream& stream, const ConvolutionCall& call, const ConvolutionOperands& operands);

}  // namespace mlkd::cuda
