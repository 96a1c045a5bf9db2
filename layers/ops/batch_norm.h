#pragma once
// Batch norm as a layer, fused with the addition and the ReLU that follow it: see batch_norm_kernels.h.
#include <string>

#include "layers/ops/batch_norm_kernels.h"
#include "layers/parameters.h"
#include "layers/pass.h"

namespace mlkd {

class BatchNorm {
public:
    // updates_per_pass: how often a training pass takes a view's statistics into the running ones. More than once only
    // where the reference networks do: see wide_resnet.h.
    BatchNorm(ParameterStore& store, const std::string& name, int channels, int updates_per_pass = 1);

    // relu(batch_norm(x) + residual); no residual: an empty value. Statistics are taken per view, and the running ones
    // are updated view by view.
    Variable forward(TrainingPass& pass, const Variable& x, const Variable& residual, bool relu) const;
    // The same without residual from the running statistics. y may be x.
    void evaluate(EvaluationPass& pass, const Tensor& y, const Tensor& x, bool relu) const;
    // The filter and bias of the convolution before, with this batch norm folded in.
    void fold(Backend& backend, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w) const;

    int channels() const { return channels_; }

private:
    BatchNormWorkspace workspace(StepArena& arena, const Shape& x, int views) const;

    const ParameterStore& store_;
    std::string name_;
    int channels_;
    int updates_per_pass_;
    Parameter &weight_, &bias_;                       // gamma, beta (C)
    const Buffer &running_mean_, &running_variance_;  // (C)
};

}  // namespace mlkd
