#pragma once
// Batch norm as an operation, fused with the addition and the ReLU that follow it: y = relu(batch_norm(x) + residual). Its kernels and
// their mathematics: batch_norm_kernels.h.
#include <memory>
#include <string>

#include "layers/builder.h"
#include "layers/ops/batch_norm_kernels.h"

namespace mlkd {

// Its part of a network's state: declared once, in PyTorch's words.
struct BatchNormState {
    // updates_per_pass: how often a training pass takes a view's statistics into the running ones. More than once only where the
    // reference networks do: see wide_resnet.cpp.
    BatchNormState(ParameterStore& parameters, const std::string& name, int channels, int updates_per_pass = 1);

    const ParameterStore* store;
    std::string name;
    int channels, updates_per_pass;
    Parameter *weight, *bias;                        // gamma, beta (C)
    const Buffer *running_mean, *running_variance;   // (C)
};

class BatchNorm final : public Op {
public:
    BatchNorm(const BatchNormState& state, bool residual, bool relu) : state_(state), residual_(residual), relu_(relu) {}

    std::string name() const override { return state_.name; }
    std::string kind() const override;
    Shape output(const std::vector<Shape>& x) const override;
    OpMemory memory(const OpTensors& t, int views) const override;
    // Statistics are taken for each view, and the running ones updated view by view.
    void forward(OpRun& run, const OpTensors& t) const override;
    void evaluate(OpRun& run, const OpTensors& t) const override;
    void backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const override;
    bool backward_reads_result() const override { return relu_; }
    // The residual's gradient is what the sums' pass makes of dL_dy.
    bool passes_gradient(int input) const override { return input == 1; }
    bool changes_gradient() const override { return relu_; }
    int in_place() const override { return 0; }
    std::int64_t parameter_elements() const override { return 2 * state_.channels; }
    std::shared_ptr<Op> folded(const std::shared_ptr<Op>& producer, int input) const override;

    // The filter and bias of the convolution before, with this batch norm folded in.
    void fold(Backend& backend, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w) const;

private:
    BatchNormState state_;
    bool residual_, relu_;
};

// residual: a value like x, or none.
inline Value batch_norm(Builder& b, const BatchNormState& state, Value x, bool relu, Value residual = {}) {
    return b.graph.add(std::make_shared<BatchNorm>(state, residual.exists(), relu),
                       residual.exists() ? std::vector{x, residual} : std::vector{x});
}

}  // namespace mlkd
