// What a capture refuses, and what a graph holds.
#include "tests/simulated/device.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Captured {
    cudaError_t status = cudaSuccess;
    cudaGraph_t graph = nullptr;
    ~Captured() {
        if (graph != nullptr) cudaGraphDestroy(graph);
    }
};

Captured capture(const TestStream& stream, const std::function<void()>& work) {
    REQUIRE(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal) == cudaSuccess);
    work();
    Captured captured;
    captured.status = cudaStreamEndCapture(stream, &captured.graph);
    CHECK((captured.graph == nullptr) == (captured.status != cudaSuccess));
    cudaGetLastError();
    return captured;
}

// Captures a call that must fail, then work that must fail with it.
void check_refused(unsigned flags, cudaError_t expected, const std::function<cudaError_t(const TestStream&)>& call) {
    const TestStream stream(flags);
    const OnDevice<float> x(1);
    const Captured captured = capture(stream, [&] {
        CHECK(call(stream) == expected);
        cudaStreamCaptureStatus status{};
        REQUIRE(cudaStreamIsCapturing(stream, &status) == cudaSuccess);
        CHECK(status == cudaStreamCaptureStatusInvalidated);
        CHECK(cudaMemsetAsync(x.data(), 0, 4, stream) == cudaErrorStreamCaptureInvalidated);
    });
    CHECK(captured.status == cudaErrorStreamCaptureInvalidated);
    REQUIRE(cudaMemsetAsync(x.data(), 0, 4, stream) == cudaSuccess);  // the stream serves again
    CHECK(x.fetched(stream)[0] == 0);
}

cudaGraphExec_t instantiated(const Captured& captured) {
    cudaGraphExec_t executable = nullptr;
    REQUIRE(cudaGraphInstantiate(&executable, captured.graph, 0) == cudaSuccess);
    return executable;
}

}  // namespace

TEST_CASE("simulated capture: what allocates, waits or copies to and from pageable memory is refused, and ends it") {
    const OnDevice<float> x(1), y(1);
    const TestStream other;
    float host = 0;
    void* memory = nullptr;
    cudaEvent_t event = nullptr;
    REQUIRE(cudaEventCreate(&event) == cudaSuccess);
    constexpr unsigned flags = cudaStreamNonBlocking;
    const cudaError_t unsupported = cudaErrorStreamCaptureUnsupported;
    check_refused(flags, unsupported, [&](const TestStream&) { return cudaMalloc(&memory, 16); });
    check_refused(flags, unsupported, [&](const TestStream&) { return cudaFree(x.data()); });
    check_refused(flags, unsupported, [&](const TestStream& s) { return cudaStreamSynchronize(s); });
    check_refused(flags, unsupported, [&](const TestStream&) { return cudaStreamSynchronize(other); });
    check_refused(flags, unsupported, [&](const TestStream&) { return cudaDeviceSynchronize(); });
    check_refused(flags, unsupported, [&](const TestStream& s) { return cudaStreamQuery(s); });
    check_refused(flags, unsupported, [&](const TestStream& s) { return cudaMemcpyAsync(x.data(), &host, 4, cudaMemcpyHostToDevice, s); });
    check_refused(flags, unsupported, [&](const TestStream& s) { return cudaMemcpyAsync(&host, x.data(), 4, cudaMemcpyDeviceToHost, s); });
    check_refused(flags, cudaErrorCapturedEvent, [&](const TestStream& s) {
        cudaEventRecord(event, s);
        return cudaEventQuery(event);
    });
    REQUIRE(cudaEventRecord(event, other) == cudaSuccess);
    check_refused(flags, cudaErrorStreamCaptureIsolation, [&](const TestStream& s) { return cudaStreamWaitEvent(s, event, 0); });
    check_refused(cudaStreamDefault, cudaErrorStreamCaptureImplicit,
                  [&](const TestStream&) { return cudaMemsetAsync(y.data(), 0, 4, nullptr); });
    cudaEventDestroy(event);
}

TEST_CASE("simulated capture: work on a stream that was not forked into it is a fault") {
    const TestStream stream, other;
    const OnDevice<float> x(1);
    CHECK(says(fault_of([&] {
                   cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal);
                   cudaMemsetAsync(x.data(), 0, 4, other);
               }),
               "goes to a stream that was not forked into the capture"));
}

TEST_CASE("simulated capture: a stream forked into it has to be joined again, and branches run in no order") {
    const TestStream stream, other;
    cudaEvent_t fork = nullptr, join = nullptr;
    REQUIRE(cudaEventCreate(&fork) == cudaSuccess);
    REQUIRE(cudaEventCreate(&join) == cudaSuccess);
    const OnDevice<float> x(stream, {1}), y(1), z(stream, {50});
    for (const bool joined : {false, true}) {
        const Captured captured = capture(stream, [&] {
            cudaEventRecord(fork, stream);
            REQUIRE(cudaStreamWaitEvent(other, fork, 0) == cudaSuccess);
            for_each_index(stream.launcher(), 1, AddOne{y.data(), x.data()});  // y = 2
            for_each_index(other.launcher(), 1, AddOne{z.data(), z.data()});   // beside it
            cudaEventRecord(join, other);
            if (joined) REQUIRE(cudaStreamWaitEvent(stream, join, 0) == cudaSuccess);
            for_each_index(stream.launcher(), 1, AddOne{y.data(), z.data()});  // after both
        });
        CHECK(captured.status == (joined ? cudaSuccess : cudaErrorStreamCaptureUnjoined));
        if (!joined) continue;
        const cudaGraphExec_t executable = instantiated(captured);
        REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
        CHECK(y.fetched(stream)[0] == 52);
        cudaGraphExecDestroy(executable);
    }
    cudaEventDestroy(fork), cudaEventDestroy(join);
}

TEST_CASE("simulated graph: kinds of nodes, and every launch runs them all again") {
    const TestStream stream;
    const OnDevice<float> x(stream, {0}), y(stream, {5}), z(1);
    const Captured captured = capture(stream, [&] {
        cudaMemsetAsync(z.data(), 0, 4, stream);
        for_each_index(stream.launcher(), 1, AddOne{x.data(), x.data()});
        cudaMemcpyAsync(y.data(), x.data(), 4, cudaMemcpyDeviceToDevice, stream);
    });
    REQUIRE(captured.status == cudaSuccess);
    CHECK(x.fetched(stream)[0] == 0);  // nothing ran
    std::size_t count = 0;
    REQUIRE(cudaGraphGetNodes(captured.graph, nullptr, &count) == cudaSuccess);
    REQUIRE(count == 3);
    std::vector<cudaGraphNode_t> nodes(count);
    REQUIRE(cudaGraphGetNodes(captured.graph, nodes.data(), &count) == cudaSuccess);
    const std::vector<cudaGraphNodeType> expected{cudaGraphNodeTypeMemset, cudaGraphNodeTypeKernel, cudaGraphNodeTypeMemcpy};
    for (std::size_t i = 0; i < count; ++i) {
        cudaGraphNodeType type{};
        REQUIRE(cudaGraphNodeGetType(nodes[i], &type) == cudaSuccess);
        CHECK(type == expected[i]);
    }
    const cudaGraphExec_t executable = instantiated(captured);
    CHECK(cudaGraphUpload(executable, stream) == cudaSuccess);
    for (int i = 0; i < 3; ++i) REQUIRE(cudaGraphLaunch(executable, stream) == cudaSuccess);
    CHECK(y.fetched(stream)[0] == 3);
    cudaGraphExecDestroy(executable);
}

TEST_CASE("simulated graph: memory that it holds may not be freed before a launch") {
    const TestStream stream;
    CHECK(says(fault_of([&] {
                   void* memory = nullptr;
                   cudaMalloc(&memory, 16);
                   const Captured captured = capture(stream, [&] { cudaMemsetAsync(memory, 0, 16, stream); });
                   const cudaGraphExec_t executable = instantiated(captured);
                   cudaFree(memory);
                   cudaGraphLaunch(executable, stream);
               }),
               "a graph is launched whose node a memset holds memory that was freed"));
}
