#pragma once
// A convolution with its batch norm: relu(batch_norm(conv(x)) + residual). In training two layers; in evaluation one
// convolution with a folded filter, bias, residual and ReLU.
#include <string>

#include "layers/ops/batch_norm.h"
#include "layers/ops/conv2d.h"

namespace mlkd {

class ConvBn {
public:
    ConvBn(ParameterStore& store, const std::string& conv_name, const std::string& norm_name, int in, int out, int filter, int stride,
           int extent)
        : conv_(store, conv_name, in, out, filter, stride, extent), norm_(store, norm_name, out) {}

    Variable forward(TrainingPass& pass, const Variable& x, const Variable& residual, bool relu) const {
        return norm_.forward(pass, conv_.forward(pass, x), residual, relu);
    }
    // Uses the filter of the last fold(). y (N, P, Q, K); residual like y or empty.
    void evaluate(EvaluationPass& pass, const Tensor& y, const Tensor& x, const Tensor& residual, bool relu) const {
        conv_.evaluate_with(pass, folded_w_, y, x, Epilogue{folded_bias_, residual, relu});
    }
    // Takes the parameters and running statistics as they are now; memory comes from `arena` the first time.
    void fold(Backend& backend, PersistentArena& arena) {
        if (folded_w_.empty()) {
            folded_w_ = arena.allocate(conv_.site().name + " folded", conv_.weight().variable.value.dtype, conv_.weight().shape);
            folded_bias_ = arena.allocate(conv_.site().name + " folded bias", folded_w_.dtype, {norm_.channels()});
        }
        norm_.fold(backend, folded_w_, folded_bias_, conv_.weight().master);
    }

    Shape output_shape(const Shape& x) const { return conv_.output_shape(x); }
    const ConvolutionSite& site() const { return conv_.site(); }

private:
    Conv2d conv_;
    BatchNorm norm_;
    Tensor folded_w_;     // (K, R, S, C)
    Tensor folded_bias_;  // (K)
};

}  // namespace mlkd
