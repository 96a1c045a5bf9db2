// Work runs later, in the order that streams and events give.
#include "tests/simulated/device.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct TestEvent {
    TestEvent() { REQUIRE(cudaEventCreate(&handle) == cudaSuccess); }
    ~TestEvent() { cudaEventDestroy(handle); }
    TestEvent(const TestEvent&) = delete;
    TestEvent& operator=(const TestEvent&) = delete;
    cudaEvent_t handle = nullptr;
};

}  // namespace

TEST_CASE("simulated stream: nothing runs before somebody waits") {
    const TestStream stream, other;
    const OnDevice<float> x(stream, {1}), y(1);
    float seen = -1;
    REQUIRE(cudaMemcpyAsync(&seen, x.data(), sizeof seen, cudaMemcpyDeviceToHost, stream) == cudaSuccess);
    CHECK(seen == -1);
    CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
    CHECK(cudaGetLastError() == cudaErrorNotReady);  // a launch that asks next would get it
    other.wait();
    stream.wait();
    CHECK(seen == 1);
    CHECK(cudaStreamQuery(stream) == cudaSuccess);
}

TEST_CASE("simulated stream: another stream's work is done only when an event says so") {
    for (const bool waits : {false, true}) {
        const TestStream first, second;
        const TestEvent event;
        const OnDevice<float> x(first, {1}), y(first, {10}), z(first, {100});
        for_each_index(first.launcher(), 1, AddOne{y.data(), x.data()});
        REQUIRE(cudaEventRecord(event.handle, first) == cudaSuccess);
        if (waits) REQUIRE(cudaStreamWaitEvent(second, event.handle, 0) == cudaSuccess);
        for_each_index(second.launcher(), 1, AddOne{z.data(), y.data()});
        CHECK(z.fetched(second)[0] == (waits ? 3 : 11));
        CHECK(y.fetched(first)[0] == 2);
    }
}

TEST_CASE("simulated events: complete when their stream comes to them, with a time") {
    const TestStream stream;
    const TestEvent start, stop;
    const OnDevice<float> x(stream, std::vector<float>(100, 1.0f)), y(100);
    float elapsed = 0;
    CHECK(cudaEventElapsedTime(&elapsed, start.handle, stop.handle) == cudaErrorInvalidResourceHandle);
    cudaGetLastError();
    cudaEventRecord(start.handle, stream);
    for_each_index(stream.launcher(), 100, AddOne{y.data(), x.data()});
    cudaEventRecord(stop.handle, stream);
    CHECK(cudaEventElapsedTime(&elapsed, start.handle, stop.handle) == cudaErrorNotReady);
    CHECK(cudaEventQuery(stop.handle) == cudaErrorNotReady);
    CHECK(cudaEventSynchronize(stop.handle) == cudaSuccess);
    CHECK(cudaEventQuery(stop.handle) == cudaSuccess);
    CHECK(cudaEventElapsedTime(&elapsed, start.handle, stop.handle) == cudaSuccess);
    CHECK(elapsed > 0);
    CHECK(cudaStreamQuery(stream) == cudaSuccess);
    cudaGetLastError();
}

TEST_CASE("simulated handles: one that is none is refused") {
    const TestStream stream;
    int something = 0;
    const auto stranger = reinterpret_cast<cudaStream_t>(&something);
    CHECK(cudaStreamSynchronize(stranger) == cudaErrorInvalidResourceHandle);
    const OnDevice<float> x(1);
    CHECK(cudaMemsetAsync(x.data(), 0, 4, stranger) == cudaErrorInvalidResourceHandle);
    CHECK(cudaEventRecord(reinterpret_cast<cudaEvent_t>(&something), stream) == cudaErrorInvalidResourceHandle);
    cudaGetLastError();
}
