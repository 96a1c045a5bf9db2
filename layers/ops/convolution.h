#pragma once
// A convolution without bias: y (N, P, Q, K) = x (N, H, W, C) * w (K, R, S, C).
#include <memory>
#include <string>

#include "layers/builder.h"

namespace mlkd {

// A square filter, padded so that stride 1 keeps the extent.
struct ConvShape {
    int in, out;  // channels
    int filter = 3;
    int stride = 1;
};

class Conv2d final : public Op {
public:
    // Declares its parameter, `name`.weight, in PyTorch's words.
    Conv2d(ParameterStore& store, const std::string& name, const ConvShape& shape);

    std::string name() const override { return name_; }
    std::string kind() const override;
    Shape output(const std::vector<Shape>& x) const override;
    void forward(OpRun& run, const OpTensors& t) const override;
    void backward_parameters(OpRun& run, const OpTensors& t, const Tensor& dL_dy) const override;
    void backward_inputs(OpRun& run, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const override;
    bool parameters_apart() const override { return true; }
    bool adds_gradient(int) const override { return true; }
    std::int64_t parameter_elements() const override { return weight_.shape.elements(); }
    double flop(const std::vector<Shape>& x) const override;

    const Parameter& weight() const { return weight_; }
    const Convolution& geometry() const { return geometry_; }

private:
    std::string name_;
    Convolution geometry_;
    Parameter& weight_;
};

inline Value conv2d(Builder& b, const std::string& name, Value x, const ConvShape& shape) {
    return b.graph.add(std::make_shared<Conv2d>(b.parameters, name, shape), {x});
}

}  // namespace mlkd
