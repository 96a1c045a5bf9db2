// Captured graphs: nodes of work, kept as they were when they were captured.
#include <algorithm>
#include <utility>

#include "tests/simulated_gpu/device.h"
#include "tests/simulated_gpu/memory.h"
#include "tests/simulated_gpu/streams.h"

struct CUgraphNode_st {
    mlkd::simulated::Node node;
};

struct CUgraph_st {
    std::vector<CUgraphNode_st> nodes;
};

struct CUgraphExec_st {
    std::shared_ptr<const std::vector<mlkd::simulated::Node>> nodes;
};

using namespace mlkd::simulated;

namespace {

// A device may take branches in any order: here the node that was captured last goes first, among those whose turn it can be.
void run_nodes(const std::vector<Node>& nodes) {
    std::vector<bool> done(nodes.size(), false);
    for (std::size_t count = 0; count < nodes.size(); ++count) {
        std::size_t next = nodes.size() - 1;
        const auto ready = [&](std::size_t i) {
            return !done[i] && std::all_of(nodes[i].after.begin(), nodes[i].after.end(), [&](std::size_t before) { return done[before]; });
        };
        while (!ready(next)) --next;
        run_work(*nodes[next].work);
        done[next] = true;
    }
}

// Whether every stream that joined the capture was waited for by its origin: its last node is behind the origin's last one.
bool all_joined(const Capture& capture) {
    std::vector<bool> reached(capture.nodes.size(), false);
    std::vector<std::size_t> open = capture.origin->last_nodes;
    while (!open.empty()) {
        const std::size_t node = open.back();
        open.pop_back();
        if (reached[node]) continue;
        reached[node] = true;
        open.insert(open.end(), capture.nodes[node].after.begin(), capture.nodes[node].after.end());
    }
    return std::all_of(reached.begin(), reached.end(), [](bool it) { return it; });
}

}  // namespace

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    const std::lock_guard guard(runtime_lock());
    *graph = nullptr;
    CUstream_st* const origin = stream_of(handle);
    if (origin == nullptr) return returned(cudaErrorInvalidResourceHandle);
    const std::shared_ptr<Capture> capture = origin->capture;
    if (capture == nullptr) return returned(cudaErrorIllegalState);
    if (capture->origin != origin) {
        capture->invalidated = true;
        return returned(cudaErrorStreamCaptureUnmatched);
    }
    const bool joined = all_joined(*capture);
    for (CUstream_st* const stream : capture->streams) stream->capture = nullptr;
    if (capture->thread != std::this_thread::get_id() && capture->mode != cudaStreamCaptureModeRelaxed)
        return returned(cudaErrorStreamCaptureWrongThread);
    if (capture->invalidated) return returned(cudaErrorStreamCaptureInvalidated);
    if (!joined) return returned(cudaErrorStreamCaptureUnjoined);
    *graph = new CUgraph_st;
    for (const Node& node : capture->nodes) (*graph)->nodes.push_back({node});
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    if (graph == nullptr) return returned(cudaErrorInvalidValue);
    delete graph;
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
    if (graph == nullptr || count == nullptr) return returned(cudaErrorInvalidValue);
    if (nodes != nullptr)
        for (std::size_t i = 0; i < *count; ++i) nodes[i] = i < graph->nodes.size() ? &graph->nodes[i] : nullptr;
    *count = nodes == nullptr ? graph->nodes.size() : std::min(*count, graph->nodes.size());
    return cudaSuccess;
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
    if (node == nullptr) return returned(cudaErrorInvalidValue);
    *type = node->node.work->type;
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
    if (graph == nullptr) return returned(cudaErrorInvalidValue);
    std::vector<Node> nodes;
    for (const CUgraphNode_st& node : graph->nodes) nodes.push_back(node.node);
    *executable = new CUgraphExec_st{std::make_shared<const std::vector<Node>>(std::move(nodes))};
    return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    if (executable == nullptr) return returned(cudaErrorInvalidValue);
    delete executable;
    return cudaSuccess;
}

cudaError_t cudaGraphUpload(cudaGraphExec_t executable, cudaStream_t stream) {
    const std::lock_guard guard(runtime_lock());
    if (executable == nullptr) return returned(cudaErrorInvalidValue);
    if (const cudaError_t status = refused_in_capture(); status != cudaSuccess) return status;
    return stream_of(stream) == nullptr ? returned(cudaErrorInvalidResourceHandle) : cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    const std::lock_guard guard(runtime_lock());
    if (executable == nullptr) return returned(cudaErrorInvalidValue);
    for (const Node& node : *executable->nodes)
        for (const void* const use : node.work->uses)
            if (use != nullptr && !is_device_memory(use, 0))
                fault("a graph is launched whose node " + plain_name(node.work->what) + " holds memory that was freed");
    return enqueue_as(cudaGraphNodeTypeGraph, stream, "a graph", {}, [nodes = executable->nodes] { run_nodes(*nodes); });
}
