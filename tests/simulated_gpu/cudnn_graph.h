#pragma once
// An operation graph of cuDNN's as plain values: what the simulation evaluates.
#include <cudnn_graph.h>

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <variant>
#include <vector>

#include "engine/vendor_calls.h"
#include "tests/simulated_gpu/cudnn_descriptor.h"

namespace mlkd::simulated {

using Extents = std::array<std::int64_t, 4>;  // of (N, C, H, W), or of (K, C, R, S)

struct GraphTensor {
    std::int64_t id;
    cudnnDataType_t type;      // float or bfloat16
    Extents extents, strides;  // strides in elements
    std::int64_t alignment;    // bytes
    bool is_virtual;           // has no memory: a value between two operations

    std::size_t element_bytes() const { return type == CUDNN_DATA_BFLOAT16 ? 2 : 4; }
    std::size_t bytes() const;  // from the first element to the end of the last
};

// result = alpha · the convolution or one of its gradients + beta · result. A gradient takes its tensor's place among x, w, y.
struct ConvolutionOperation {
    ConvolutionCall problem;  // in float32, without epilogue
    std::int64_t x, w, y;        // ids
    float alpha, beta;

    std::int64_t result() const;
};

// y = x + b (b with extents of 1 where it is repeated), max(x, 0), or x.
struct PointwiseOperation {
    cudnnPointwiseMode_t mode;
    std::int64_t x, y;
    std::optional<std::int64_t> b;
};

struct OperationGraph {
    std::map<std::int64_t, GraphTensor> tensors;                                     // by id
    std::vector<std::variant<ConvolutionOperation, PointwiseOperation>> operations;  // each after those whose results it reads

    bool is_result(std::int64_t id) const;
};

// Throws Refusal CUDNN_STATUS_NOT_SUPPORTED for what is not simulated: other operations, types, attributes.
OperationGraph read_graph(const Description& graph);

}  // namespace mlkd::simulated
