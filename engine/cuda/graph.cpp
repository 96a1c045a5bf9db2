#include "engine/cuda/graph.h"

#include <vector>

#include "engine/cuda/device_memory.h"

namespace mlkd::cuda {
namespace {

struct DestroyGraph {
    void operator()(cudaGraph_t graph) const noexcept { cudaGraphDestroy(graph); }
};
using GraphHandle = std::unique_ptr<CUgraph_st, DestroyGraph>;

GraphHandle capture(cudaStream_t stream, const std::function<void()>& work) {
    check_cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "starting to record a graph");
    cudaGraph_t graph = nullptr;
    try {
        work();
    } catch (...) {
        cudaStreamEndCapture(stream, &graph);
        if (graph != nullptr) cudaGraphDestroy(graph);
        cudaGetLastError();  // the failure that is reported is the first one
        throw;
    }
    const cudaError_t status = cudaStreamEndCapture(stream, &graph);
    GraphHandle owner(graph);
    check_cuda(status, "recording a graph");
    return owner;
}

}  // namespace

Graph::Graph(cudaStream_t stream, const std::function<void()>& work) : stream_(stream) {
    const GraphHandle graph = capture(stream, work);
    std::size_t count = 0;
    check_cuda(cudaGraphGetNodes(graph.get(), nullptr, &count), "counting a graph's nodes");
    std::vector<cudaGraphNode_t> nodes(count);
    check_cuda(cudaGraphGetNodes(graph.get(), nodes.data(), &count), "reading a graph's nodes");
    for (const cudaGraphNode_t node : nodes) {
        cudaGraphNodeType type{};
        check_cuda(cudaGraphNodeGetType(node, &type), "reading a graph's node");
        ++(type == cudaGraphNodeTypeKernel ? kernels_ : others_);
    }
    cudaGraphExec_t executable = nullptr;
    check_cuda(cudaGraphInstantiate(&executable, graph.get(), 0), "preparing a graph");
    executable_.reset(executable);
    check_cuda(cudaGraphUpload(executable, stream), "uploading a graph");
}

void Graph::replay() { check_cuda(cudaGraphLaunch(executable_.get(), stream_), "launching a graph"); }

}  // namespace mlkd::cuda
