#pragma once
// A recording as a CUDA graph: captured from the backend's stream, instantiated once, launched as a whole.
#include <cuda_runtime_api.h>

#include <functional>
#include <memory>

#include "engine/backend.h"

namespace mlkd::cuda {

class Graph final : public Recording {
public:
    // Captures what `work` enqueues on the stream, in thread-local mode: calls of other threads do not disturb it. Throws Error
    // where `work` does, or does what a capture forbids; the stream is then as it was.
    Graph(cudaStream_t stream, const std::function<void()>& work);

    void replay() override;
    int kernels() const override { return kernels_; }
    int others() const override { return others_; }

private:
    struct Destroy {
        void operator()(cudaGraphExec_t graph) const noexcept { cudaGraphExecDestroy(graph); }
    };
    cudaStream_t stream_;
    std::unique_ptr<CUgraphExec_st, Destroy> executable_;
    int kernels_ = 0, others_ = 0;
};

}  // namespace mlkd::cuda
