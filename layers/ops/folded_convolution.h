#pragma once
// A convolution in evaluation mode with what follows it in its epilogue: y = relu(conv(x, w') + b' + residual), where a batch norm between
// is folded into w' and b', and every part may be missing. Made by Graph::folded() alone.
#include <memory>

#include "layers/ops/batch_norm.h"
#include "layers/ops/convolution.h"

namespace mlkd {

class FoldedConvolution final : public Op {
public:
    // norm: nullptr where there is none. Inputs are x, and the residual if there is one.
    FoldedConvolution(std::shared_ptr<const Conv2d> convolution, std::shared_ptr<const BatchNorm> norm, bool residual, bool relu);

    std::string name() const override { return convolution_->name(); }
    std::string kind() const override;
    Shape output(const std::vector<Shape>& x) const override { return convolution_->output({x[0]}); }
    void forward(OpRun& run, const OpTensors& t) const override;
    void backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const override;
    void take_parameters(Backend& backend, PersistentArena& arena) override;
    double flop(const std::vector<Shape>& x) const override { return convolution_->flop({x[0]}); }

private:
    std::shared_ptr<const Conv2d> convolution_;
    std::shared_ptr<const BatchNorm> norm_;
    bool residual_, relu_;
    Tensor w_, bias_;  // (K, R, S, C), (K): folded; empty without a norm
};

}  // namespace mlkd
