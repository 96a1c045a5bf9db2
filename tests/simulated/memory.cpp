// Device memory is the device's alone.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "tests/simulated/device.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct FollowPointer {
    float* const* pointer;
    float* y;
    void operator()(std::int64_t i) const { y[i] = **pointer; }
};

struct WriteBehind {
    float* x;
    std::int64_t count;
    void operator()(std::int64_t i) const { x[i + count] = 1; }
};

}  // namespace

TEST_CASE("simulated memory: what was not written is NaN, also after a free") {
    const TestStream stream;
    for (int round = 0; round < 2; ++round) {
        const OnDevice<float> x(1000);
        CHECK(reinterpret_cast<std::uintptr_t>(x.data()) % 256 == 0);
        for (const float value : x.fetched(stream)) CHECK(std::isnan(value));
        REQUIRE(cudaMemsetAsync(x.data(), 0, 4000, stream) == cudaSuccess);
        for (const float value : x.fetched(stream)) CHECK(value == 0);
    }
}

TEST_CASE("simulated memory: the host may not touch it") {
    const TestStream stream;
    const OnDevice<float> x(stream, {1, 2, 3});
    volatile float* const address = x.data();
    CHECK(says(fault_of([&] { static_cast<void>(address[1]); }), "the host touches device memory at "));
    CHECK(says(fault_of([&] { static_cast<void>(address[1]); }), "byte 4 of an allocation of 12"));
    CHECK(says(fault_of([&] { address[0] = 1; }), "the host touches"));
    CHECK(says(fault_of([&] { std::memset(x.data(), 0, 4); }), "the host touches"));
    CHECK(fault_of([] {}) == "");
    CHECK(x.fetched(stream) == std::vector<float>{1, 2, 3});
}

TEST_CASE("simulated memory: a kernel gets live device memory, and touches only what it got") {
    const TestStream stream;
    const OnDevice<float> x(stream, std::vector<float>(100, 1.0f)), y(100);
    const auto fault_with = [&](const auto& kernel) {
        return fault_of([&] {
            for_each_index(stream.launcher(), 100, kernel);
            stream.wait();
        });
    };
    CHECK(fault_with(AddOne{y.data(), x.data()}) == "");
    std::vector<float> heap(100);
    float stack[100] = {};
    static float global[100];
    for (float* const host : {heap.data(), stack, global}) {
        CHECK(says(fault_with(AddOne{y.data(), host}), "byte 8 of the arguments"));
        CHECK(says(fault_with(AddOne{host, x.data()}), "byte 0 of the arguments"));
        CHECK(says(fault_with(AddOne{host, x.data()}), "of the arguments of mlkd::test::AddOne is an address of the host's memory"));
    }
    float* freed = nullptr;
    {
        const OnDevice<float> short_lived(100);
        freed = short_lived.data();
    }
    CHECK(says(fault_with(AddOne{y.data(), freed}), "is an address of device memory that was freed"));
    const OnDevice<float*> pointer(stream, {x.data()});
    CHECK(says(fault_with(FollowPointer{pointer.data(), y.data()}), "which is not among the arguments"));
    CHECK(says(fault_with(WriteBehind{y.data(), 20}), "bytes next to an allocation of 400 were written"));
    CHECK(says(fault_with(WriteBehind{y.data(), 5000}), "access to "));
    CHECK(says(fault_with(WriteBehind{y.data(), -20}), "bytes next to an allocation of 400 were written"));
}

TEST_CASE("simulated memory: freed once, and what cudaMalloc gave") {
    const TestStream stream;
    CHECK(cudaFree(nullptr) == cudaSuccess);
    CHECK(says(fault_of([] {
                   void* memory = nullptr;
                   cudaMalloc(&memory, 16);
                   cudaFree(memory);
                   cudaFree(memory);
               }),
               "a second time"));
    CHECK(says(fault_of([] { cudaFree(stderr); }), "cudaFree of what cudaMalloc did not give"));
    // It waits for work that uses the memory.
    const OnDevice<float> x(stream, {1, 2}), z(2);
    {
        const OnDevice<float> y(2);
        for_each_index(stream.launcher(), 2, AddOne{y.data(), x.data()});
        for_each_index(stream.launcher(), 2, AddOne{z.data(), y.data()});
    }
    CHECK(z.fetched(stream) == std::vector<float>{3, 4});
}

TEST_CASE("simulated memory: no more than an H100 has") {
    void* memory = &memory;
    CHECK(cudaMalloc(&memory, std::size_t{1} << 40) == cudaErrorMemoryAllocation);
    CHECK(memory == nullptr);
    CHECK(cudaGetLastError() == cudaErrorMemoryAllocation);
    CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("simulated memory: copies say truly where their operands are") {
    const TestStream stream;
    const OnDevice<float> x(4);
    float host[8] = {};
    CHECK(cudaMemcpyAsync(x.data(), host, 16, cudaMemcpyDeviceToHost, stream) == cudaErrorInvalidValue);
    CHECK(cudaMemcpyAsync(x.data(), host, 20, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
    CHECK(cudaMemcpyAsync(x.data(), x.data(), 16, cudaMemcpyHostToDevice, stream) == cudaErrorInvalidValue);
    CHECK(cudaMemsetAsync(host, 0, 16, stream) == cudaErrorInvalidValue);
    CHECK(cudaMemsetAsync(x.data(), 0, 17, stream) == cudaErrorInvalidValue);
    CHECK(cudaMemcpyAsync(x.data(), host, 16, cudaMemcpyHostToDevice, stream) == cudaSuccess);
    CHECK(cudaGetLastError() == cudaErrorInvalidValue);
    stream.wait();
}
