#pragma once
// The three directions of a convolution in double: the reference precision of the CPU backend.
#include "engine/cpu/convolution_plan.h"

namespace mlkd::reference {

// x (N, H, W, C), w (K, R, S, C), y (N, P, Q, K), each the tensor itself or, where the direction says so, its gradient.
void convolution_forward(double* y, const double* x, const double* w, const ConvolutionProblem& problem, const double* bias,
                         const double* residual);
void convolution_backward_data(double* dL_dx, const double* dL_dy, const double* w, const ConvolutionProblem& problem);
void convolution_backward_filter(double* dL_dw, const double* x, const double* dL_dy, const ConvolutionProblem& problem);

}  // namespace mlkd::reference
