#pragma once
// Small owners of what the CUDA runtime hands out.
#include <cuda_runtime_api.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace mlkd::cuda {

// Throws Error "CUDA: <what>: <reason>" unless the status is success.
void check_cuda(cudaError_t status, const std::string& what);

// Zeroed device memory, 256-byte aligned; the zeros are there for whatever follows on the stream. Throws Error where there is none
// left, and while the stream is captured: a graph must not allocate.
struct DeviceMemoryDeleter {
    void operator()(std::byte* memory) const noexcept { cudaFree(memory); }
};
using DeviceMemory = std::unique_ptr<std::byte, DeviceMemoryDeleter>;
std::string allocation_failure(cudaError_t status, std::size_t bytes);  // in words
DeviceMemory allocate_device_memory(std::size_t bytes, cudaStream_t stream);

// One buffer that all operations of a stream share in turn. It grows by moving on to a larger block; the smaller ones stay
// until the end, as a captured graph may hold their addresses.
class GrowingBuffer {
public:
    explicit GrowingBuffer(cudaStream_t stream) : stream_(stream) {}
    // At least `bytes` bytes, zeroed when they were allocated; nullptr for none.
    void* reserve(std::size_t bytes);

private:
    cudaStream_t stream_;
    std::vector<DeviceMemory> blocks_;
    std::size_t bytes_ = 0;  // of the last block
};

using StreamHandle = std::unique_ptr<CUstream_st, cudaError_t (*)(cudaStream_t)>;
using EventHandle = std::unique_ptr<CUevent_st, cudaError_t (*)(cudaEvent_t)>;
StreamHandle make_stream();  // does not wait for the legacy default stream
EventHandle make_event();

}  // namespace mlkd::cuda
