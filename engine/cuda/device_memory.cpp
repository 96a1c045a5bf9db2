#include "engine/cuda/device_memory.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace mlkd::cuda {

void check_cuda(cudaError_t status, const std::string& what) {
    if (status != cudaSuccess) throw Error(fmt::format("CUDA: {}: {}", what, cudaGetErrorString(status)));
}

std::string allocation_failure(cudaError_t status, std::size_t bytes) {
    switch (status) {
        case cudaErrorMemoryAllocation: return fmt::format("no GPU memory left for {} bytes; use a smaller batch", bytes);
        case cudaErrorStreamCaptureUnsupported:
        case cudaErrorStreamCaptureImplicit:
            return fmt::format("{} bytes of GPU memory are asked for while a graph is recorded: run the step once before", bytes);
        default: return fmt::format("CUDA: allocating {} bytes: {}", bytes, cudaGetErrorString(status));
    }
}

DeviceMemory allocate_device_memory(std::size_t bytes, cudaStream_t stream) {
    void* memory = nullptr;
    const std::size_t wanted = std::max<std::size_t>(bytes, 1);
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(stream, &capture), "asking for the state of a stream");
    const bool captured = capture != cudaStreamCaptureStatusNone;
    const cudaError_t status = captured ? cudaErrorStreamCaptureUnsupported : cudaMalloc(&memory, wanted);
    if (status != cudaSuccess) {
        cudaGetLastError();  // running out of memory is no lasting failure of the device
        throw Error(allocation_failure(status, wanted));
    }
    DeviceMemory owner(static_cast<std::byte*>(memory));
    check_cuda(cudaMemsetAsync(memory, 0, wanted, stream), "zeroing memory");
    return owner;
}

void* GrowingBuffer::reserve(std::size_t bytes) {
    if (bytes > bytes_) {
        const std::size_t larger = std::max(bytes, 2 * bytes_);
        blocks_.push_back(allocate_device_memory(larger, stream_));
        bytes_ = larger;
    }
    return bytes == 0 ? nullptr : blocks_.back().get();
}

StreamHandle make_stream() {
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream");
    return {stream, cudaStreamDestroy};
}

EventHandle make_event() {
    cudaEvent_t event = nullptr;
    check_cuda(cudaEventCreate(&event), "creating an event");
    return {event, cudaEventDestroy};
}

}  // namespace mlkd::cuda
