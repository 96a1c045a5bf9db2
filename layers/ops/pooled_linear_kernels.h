#pragma once
// Kernels of the network's head: on a GPU one launch forward and one backward. Outputs come first; all tensors of a call have one
// type, f32 or f64, but x and dL_dx may be bf16 where the rest is f32.
#include "engine/backend.h"
#include "engine/tensor.h"

namespace mlkd {

// pooled (N, C) = mean over pixels of x (N, H, W, C); logits (N, O) = pooled · weightᵀ (C, O) + bias (O).
void pooled_linear(Backend& backend, const Tensor& logits, const Tensor& pooled, const Tensor& x, const Tensor& weight, const Tensor& bias);

struct PooledLinearGradients {
    Tensor dL_dx;       // (N, H, W, C)
    Tensor dL_dweight;  // (O, C)
    Tensor dL_dbias;    // (O)
};

// Overwrites the gradients. dL_dlogits (N, O), pooled (N, C), weight (O, C); dL_dpooled (N, C): room that one thread a row uses.
void pooled_linear_backward(Backend& backend, const PooledLinearGradients& gradients, const Tensor& dL_dlogits, const Tensor& pooled,
                            const Tensor& weight, const Tensor& dL_dpooled);

}  // namespace mlkd
