#pragma once
// A convolution as cuDNN's graph API wants it: tensors, operations on them, and the operation graph that fuses them.
#include <cudnn_graph.h>

#include <cstdint>
#include <deque>
#include <vector>

#include "engine/cuda/descriptor.h"
#include "engine/vendor_calls.h"

namespace mlkd::cuda {

// Whom cuDNN plans for: the GPU behind a handle, or a GPU that need not be there, described by its properties.
struct PlanTarget {
    const Cudnn& cudnn;
    cudnnHandle_t handle = nullptr;
    const Descriptor* properties = nullptr;  // CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR; used where handle is nullptr
};

// How plans name the tensors whose addresses come with each call.
enum TensorId : std::int64_t { id_x = 1, id_w, id_y, id_bias, id_residual, id_first_virtual };

// The graph of y = relu(conv(x, w) + residual + bias), as far as the call asks for each part, or of one of the two
// gradients. All tensors have the call's type, f32 or bf16, channels innermost, 16-byte aligned; sums are float32.
class ConvolutionGraph {
public:
    ConvolutionGraph(const PlanTarget& target, const ConvolutionCall& call);

    const Descriptor& graph() const { return graph_; }
    const PlanTarget& target() const { return target_; }

private:
    enum class Memory : bool { real, intermediate };

    // Each tensor and operation stays at its place, as later ones refer to it.
    const Descriptor& tensor(std::int64_t id, std::int64_t n, std::int64_t c, std::int64_t h, std::int64_t w, Memory memory = Memory::real);
    void add_convolution(const ConvolutionCall& call, const Descriptor& y);
    void add_pointwise(cudnnPointwiseMode_t mode, const Descriptor& y, const Descriptor& x, const Descriptor* b);

    PlanTarget target_;
    cudnnDataType_t data_;
    std::deque<Descriptor> tensors_, parts_;
    std::vector<Descriptor> operations_;
    Descriptor graph_;
};

}  // namespace mlkd::cuda
