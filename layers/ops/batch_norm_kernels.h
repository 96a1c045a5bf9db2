#pragma once
// Batch normalisation (Ioffe and Szegedy, ICML 2015) fused with what follows it in a residual network:
//     y = relu(gamma · (x − mean) / sqrt(variance + epsilon) + beta + residual)
// over tensors (N, H, W, C), with the mean and biased variance of each view's part of the batch. Two launches forward or
// backward: sums over chunks of pixels, which the last chunks merge in fixed order, and one pass over the tensor.
// Activations and their gradients have one type, f32, f64 or bf16; everything a channel is f32 beside bf16, else the same.
// Arithmetic is in that type, and what is stored as bf16 is rounded once.
#include "engine/kernels/launch.h"
#include "engine/tensor.h"

namespace mlkd {

template <class T> constexpr T batch_norm_epsilon = static_cast<T>(1e-5);
template <class T> constexpr T batch_norm_momentum = static_cast<T>(0.1);

constexpr int batch_norm_most_groups = 64;  // of chunks, all views together
constexpr int batch_norm_arrivals = batch_norm_most_groups + 1;

// Memory that the caller provides for a call.
struct BatchNormWorkspace {
    Tensor partials;    // batch_norm_partials_shape(), of the type of `mean`
    Tensor group_sums;  // batch_norm_group_sums_shape(), f64
    Tensor arrivals;    // (batch_norm_arrivals) i32: zeros, and zeros again afterwards; launches of one stream may share it
};
Shape batch_norm_partials_shape(const Shape& x, int views);    // (views, chunks, 2, C)
Shape batch_norm_group_sums_shape(const Shape& x, int views);  // (groups, 2, C)

// mean, inverse_deviation (views, C) of each view, and the update of running_mean, running_variance (C), view by view,
// with the unbiased variance, as that many forward passes of PyTorch would; each view's update is repeated
// updates_per_view times.
void batch_norm_statistics(const Stream& stream, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& running_mean,
                           const Tensor& running_variance, const BatchNormWorkspace& workspace, const Tensor& x, int views,
                           int updates_per_view = 1);

// y (N, H, W, C); residual of the same shape or empty. y may be x.
void batch_norm_apply(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation,
                      const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu, int views);

// dL_dgamma, dL_dbeta (C), and the two means over pixels that dL_dx needs: mean_dz, mean_dz_xhat (views, C). dL_dy becomes
// dz = dL_dy · [y > 0] (or stays, without relu), which is also the gradient of the residual. added: whether there was one; without it
// teams find the sign of y again from x, which they read anyway.
void batch_norm_backward_sums(const Stream& stream, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& mean_dz,
                              const Tensor& mean_dz_xhat, const BatchNormWorkspace& workspace, const Tensor& dL_dy, const Tensor& y,
                              const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& gamma,
                              const Tensor& beta, bool added, bool relu, int views);

// dL_dx = gamma · inverse_deviation · (dz − mean_dz − xhat · mean_dz_xhat).
void batch_norm_backward_apply(const Stream& stream, const Tensor& dL_dx, const Tensor& dz, const Tensor& x, const Tensor& mean,
                               const Tensor& inverse_deviation, const Tensor& gamma, const Tensor& mean_dz, const Tensor& mean_dz_xhat,
                               int views);

// Evaluation mode: y = x · scale + shift with running statistics, then + residual (may be empty), then relu.
void batch_norm_evaluate(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& running_mean, const Tensor& running_variance,
                         const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu);

// Folds an evaluation-mode batch norm into the convolution before it:
//     folded_w[k] = w[k] · gamma[k] / sqrt(running_variance[k] + epsilon), folded_bias likewise; w (K, R, S, C).
// folded_w and folded_bias may be bf16 where all else is f32: rounded once.
void batch_norm_fold(const Stream& stream, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w, const Tensor& running_mean,
                     const Tensor& running_variance, const Tensor& gamma, const Tensor& beta);

}  // namespace mlkd
