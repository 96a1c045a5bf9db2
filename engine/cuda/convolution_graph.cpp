#include "engine/cuda/convolution_graph.h"

#include <array>

namespace mlkd::cuda {
namespace {

struct ConvolutionAttributes {
    cudnnBackendDescriptorType_t operation;
    cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
};

// A gradient takes the place of its tensor: dL/dx that of x, dL/dw that of w, dL/dy that of y.
ConvolutionAttributes attributes_of(Direction direction) {
    switch (direction) {
        case Direction::backward_data:
            return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
        case Direction::backward_filter:
            return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
        case Direction::forward:
            break;
    }
    return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,             CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
}

}  // namespace

ConvolutionGraph::ConvolutionGraph(const PlanTarget& target, const ConvolutionCall& p)
    : target_(target),
      data_(p.dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT),
      graph_(target.cudnn, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    int following = (p.residual ? 1 : 0) + (p.bias ? 1 : 0) + (p.relu ? 1 : 0);  // operations still to come
    std::int64_t next_virtual = id_first_virtual;
    const auto result = [&]() -> const Descriptor& {  // of the operation that is added next: the last one writes y
        if (following-- == 0) return tensor(id_y, p.n, p.k, p.p(), p.q());
        return tensor(next_virtual++, p.n, p.k, p.p(), p.q(), Memory::intermediate);
    };
    const Descriptor* y = &result();
    add_convolution(p, *y);
    const auto then = [&](cudnnPointwiseMode_t mode, const Descriptor* operand) {
        const Descriptor& next = result();
        add_pointwise(mode, next, *y, operand);
        y = &next;
    };
    // The residual goes before the bias: that order has precompiled engines, the other one not.
    if (p.residual) then(CUDNN_POINTWISE_ADD, &tensor(id_residual, p.n, p.k, p.p(), p.q()));
    if (p.bias) then(CUDNN_POINTWISE_ADD, &tensor(id_bias, 1, p.k, 1, 1));
    if (p.relu) then(CUDNN_POINTWISE_RELU_FWD, nullptr);
    graph_.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations_);
    if (target.handle != nullptr) graph_.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, target.handle);
    graph_.finalize("graph");
}

// cuDNN counts axes as (N, C, H, W), whatever their order in memory.
const Descriptor& ConvolutionGraph::tensor(std::int64_t id, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, Memory memory) {
    const std::array<std::int64_t, 4> extents{n, c, h, w}, strides{h * w * c, 1, w * c, c};
    Descriptor& tensor = tensors_.emplace_back(target_.cudnn, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, memory == Memory::intermediate ? CUDNN_DATA_FLOAT : data_);
    tensor.set_array<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, extents);
    tensor.set_array<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, strides);
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
    tensor.set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, memory == Memory::intermediate);
    tensor.finalize("tensor");
    return tensor;
}

void ConvolutionGraph::add_convolution(const ConvolutionCall& p, const Descriptor& y) {
    const std::array<std::int64_t, 2> strides{p.stride, p.stride}, padding{p.padding, p.padding}, dilations{1, 1};
    Descriptor& convolution = parts_.emplace_back(target_.cudnn, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
    convolution.set_array<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, strides);
    convolution.set_array<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS, dilations);
    convolution.set_array<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, padding);
    convolution.set_array<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, padding);
    convolution.finalize("convolution");

    const ConvolutionAttributes attributes = attributes_of(p.direction);
    Descriptor& operation = operations_.emplace_back(target_.cudnn, attributes.operation);
    operation.set_descriptor(attributes.convolution, convolution);
    operation.set_descriptor(attributes.x, tensor(id_x, p.n, p.c, p.h, p.w));
    operation.set_descriptor(attributes.w, tensor(id_w, p.k, p.c, p.r, p.s));
    operation.set_descriptor(attributes.y, y);
    operation.set(attributes.alpha, 1.0f);
    operation.set(attributes.beta, p.accumulate ? 1.0f : 0.0f);
    operation.finalize("convolution operation");
}

void ConvolutionGraph::add_pointwise(cudnnPointwiseMode_t mode, const Descriptor& y, const Descriptor& x, const Descriptor* b) {
    Descriptor& pointwise = parts_.emplace_back(target_.cudnn, CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    pointwise.set(CUDNN_ATTR_POINTWISE_MODE, mode);
    pointwise.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
    pointwise.finalize("element-wise operator");

    Descriptor& operation = operations_.emplace_back(target_.cudnn, CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, pointwise);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
    if (b != nullptr) operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *b);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, y);
    operation.finalize("element-wise operation");
}

}  // namespace mlkd::cuda
