#pragma once
// A convolution with its batch norm: relu(batch_norm(conv(x)) + residual).
#include <memory>
#include <string>

#include "layers/ops/batch_norm.h"
#include "layers/ops/convolution.h"

namespace mlkd {

// Declared first, appended to the graph later: parameters stand in PyTorch's order, which need not be that of the operations.
class ConvNorm {
public:
    ConvNorm(Builder& b, const std::string& conv_name, const std::string& norm_name, const ConvShape& shape)
        : b_(b), conv_(std::make_shared<Conv2d>(b.parameters, conv_name, shape)), norm_(b.parameters, norm_name, shape.out) {}

    Value operator()(Value x, bool relu, Value residual = {}) const {
        return batch_norm(b_, norm_, b_.graph.add(conv_, {x}), relu, residual);
    }

private:
    Builder& b_;
    std::shared_ptr<Conv2d> conv_;
    BatchNormState norm_;
};

}  // namespace mlkd
