#pragma once
// What stands behind the last block: average pooling over the whole plane (8×8 for 32×32 images), then a linear layer:
// logits (N, classes) = mean over pixels of x (N, H, W, C) · weightᵀ (C, classes) + bias.
#include <memory>
#include <string>

#include "engine/types.h"
#include "layers/builder.h"

namespace mlkd {

enum class LinearBias { uniform, zero };  // PyTorch's default, or the wide networks' zero

class PooledLinear final : public Op {
public:
    PooledLinear(ParameterStore& store, const std::string& name, int channels, int classes, LinearBias bias);

    std::string name() const override { return name_; }
    std::string kind() const override { return "mean + linear"; }
    Shape output(const std::vector<Shape>& x) const override;
    DType type(DType stored) const override { return computed_type(stored); }
    OpMemory memory(const OpTensors& t, int views) const override;
    void forward(OpRun& run, const OpTensors& t) const override;
    void backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const override;
    bool backward_reads_inputs() const override { return false; }  // but the means, which it keeps
    std::int64_t parameter_elements() const override { return weight_.shape.elements() + bias_.shape.elements(); }
    double flop(const std::vector<Shape>&) const override { return 2.0 * channels_ * classes_; }

private:
    std::string name_;
    int channels_, classes_;
    Parameter &weight_, &bias_;  // (classes, C), (classes)
};

inline Value pooled_linear(Builder& b, const std::string& name, Value x, LinearBias bias = LinearBias::uniform) {
    return b.graph.add(std::make_shared<PooledLinear>(b.parameters, name, b.channels(x), b.classes, bias), {x});
}

}  // namespace mlkd
