#pragma once
// cuDNN's own batch norm, beside which ours is measured and tested. Training does not use it: it knows neither views nor, in
// float32, the addition and ReLU that follow.
#include <memory>

#include "engine/backend.h"
#include "engine/tensor.h"

namespace mlkd {

class VendorBatchNorm {
public:
    virtual ~VendorBatchNorm() = default;
    // y (N, H, W, C) like x, f32 or bf16; the rest (C) f32. Statistics over the whole batch: keep them for backward();
    // inverse_deviation = 1 / sqrt(variance + epsilon). Running statistics move by a tenth, the variance unbiased.
    virtual void forward(const Tensor& y, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& running_mean,
                         const Tensor& running_variance, const Tensor& x, const Tensor& gamma, const Tensor& beta) = 0;
    virtual void backward(const Tensor& dL_dx, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& dL_dy, const Tensor& x,
                          const Tensor& gamma, const Tensor& mean, const Tensor& inverse_deviation) = 0;
};

// For a backend made by make_cuda_backend(); nullptr for another one.
std::unique_ptr<VendorBatchNorm> make_vendor_batch_norm(Backend& backend);

}  // namespace mlkd
