#pragma once
// The three directions of a convolution in double: the reference precision of the CPU backend.
#include "engine/cpu/convolution_plan.h"

namespace mlkd::cpu::reference {

// x (N, H, W, C), w (K, R, S, C), y (N, P, Q, K), each the tensor itself or, where the direction says so, its gradient.
void convolution_forward(double* y, const double* x, const double* w, const ConvolutionCall& call, const double* bias,
                         const double* residual);
void convolution_backward_data(double* dL_dx, const double* dL_dy, const double* w, const ConvolutionCall& call);
void convolution_backward_filter(double* dL_dw, const double* x, const double* dL_dy, const ConvolutionCall& call);

}  // namespace mlkd::cpu::reference
