#include "layers/ops/folded_convolution.h"

#include <utility>

#include "engine/arena.h"
#include "engine/error.h"

namespace mlkd {

FoldedConvolution::FoldedConvolution(std::shared_ptr<const Conv2d> convolution, std::shared_ptr<const BatchNorm> norm, bool residual, bool relu)
    : convolution_(std::move(convolution)), norm_(std::move(norm)), residual_(residual), relu_(relu) {}

std::string FoldedConvolution::kind() const {
    return convolution_->kind() + (norm_ ? " + norm" : "") + (residual_ ? " + add" : "") + (relu_ ? " + relu" : "");
}

void FoldedConvolution::forward(OpRun& run, const OpTensors& t) const {
    run.backend.convolution_forward(t.y, t.x[0], norm_ ? w_ : convolution_->weight().value, convolution_->geometry(),
                                    Epilogue{bias_, residual_ ? t.x[1] : Tensor{}, relu_});
}

void FoldedConvolution::backward_inputs(OpRun&, const OpTensors&, const Tensor&, const std::vector<InputGradient>&) const {
    throw Error(name() + ": a folded convolution has no backward pass");
}

void FoldedConvolution::take_parameters(Backend& backend, PersistentArena& arena) {
    if (norm_ == nullptr) return;
    const Parameter& weight = convolution_->weight();
    if (w_.empty()) {
        w_ = arena.allocate(name() + " folded", weight.value.dtype, weight.shape);
        bias_ = arena.allocate(name() + " folded bias", weight.value.dtype, {weight.shape[0]});
    }
    norm_->fold(backend, w_, bias_, weight.master);
}

}  // namespace mlkd
