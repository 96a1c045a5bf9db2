#pragma once
// What stands behind the last block: average pooling over the whole plane (8×8 for 32×32 images), then a linear layer:
// logits (N, classes) = mean over pixels of x (N, H, W, C) · weightᵀ (C, classes) + bias.
#include <string>

#include "layers/parameters.h"
#include "layers/pass.h"

namespace mlkd {

enum class LinearBias { uniform, zero };  // PyTorch's default, or the wide networks' zero

class PooledLinear {
public:
    PooledLinear(ParameterStore& store, const std::string& name, int channels, int classes, LinearBias bias);

    Variable forward(TrainingPass& pass, const Variable& x) const;
    void evaluate(EvaluationPass& pass, const Tensor& logits, const Tensor& x) const;

    double flop_per_image() const { return 2.0 * channels_ * classes_; }
    int classes() const { return classes_; }

private:
    std::string name_;
    int channels_, classes_;
    Parameter &weight_, &bias_;  // (classes, C), (classes)
};

}  // namespace mlkd
