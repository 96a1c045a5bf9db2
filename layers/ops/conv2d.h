#pragma once
// A convolution without bias: y (N, P, Q, K) = x (N, H, W, C) * w (K, R, S, C).
#include <string>

#include "layers/parameters.h"
#include "layers/pass.h"

namespace mlkd {

// What a convolution of a network looks like on the network's own input size: for counting and for benchmarks.
struct ConvolutionSite {
    std::string name;
    int in, out, filter, stride, extent;  // channels, channels, taps a side, stride, input height = width
    double flop_per_image() const;        // 2 per multiply-add, forward
};

class Conv2d {
public:
    // `name` as in PyTorch, without ".weight"; square filter, padded so that stride 1 keeps the extent.
    Conv2d(ParameterStore& store, const std::string& name, int in, int out, int filter, int stride, int extent);

    Shape output_shape(const Shape& x) const;
    Variable forward(TrainingPass& pass, const Variable& x) const;
    // y = relu(x * w + bias + residual) as the epilogue says.
    void evaluate(EvaluationPass& pass, const Tensor& y, const Tensor& x, const Epilogue& epilogue = {}) const;
    // The same with another filter in place of the parameter (a folded one).
    void evaluate_with(EvaluationPass& pass, const Tensor& w, const Tensor& y, const Tensor& x, const Epilogue& epilogue) const;

    const Parameter& weight() const { return weight_; }
    const ConvolutionSite& site() const { return site_; }

private:
    ConvolutionSite site_;
    Convolution geometry_;
    Parameter& weight_;
};

}  // namespace mlkd
