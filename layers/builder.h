#pragma once
// What a network is built from: a graph that operations are appended to, and the parameters that they declare. The functions that append
// (conv_norm, pooled_linear, …) stand beside their operations in layers/ops.
#include "engine/graph.h"
#include "layers/parameters.h"

namespace mlkd {

struct Builder {
    Graph& graph;
    ParameterStore& parameters;
    int classes;

    Value images() const { return graph.images(); }
    int channels(Value x) const { return static_cast<int>(graph.shape(x)[2]); }  // of a value (H, W, C)
};

}  // namespace mlkd
