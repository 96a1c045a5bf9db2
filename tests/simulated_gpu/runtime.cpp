// The rest of the CUDA runtime: memory, copies, the device's properties, names of errors.
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "tests/simulated_gpu/device.h"
#include "tests/simulated_gpu/limits.h"
#include "tests/simulated_gpu/memory.h"
#include "tests/simulated_gpu/streams.h"

using namespace mlkd::simulated;

namespace {

constexpr int multiprocessors = 132;

bool hidden() {
    const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
    return visible != nullptr && (*visible == '\0' || std::strcmp(visible, "-1") == 0);
}

bool is_the_device(int device) { return device == 0 && !hidden(); }

struct Range {
    const void* address;
    bool on_device;
};

// Whether an operand of a copy is where the caller says it is.
bool fits(const Range& range, std::size_t bytes) {
    return range.on_device ? is_device_memory(range.address, bytes) : range.address != nullptr && !in_device_range(range.address);
}

}  // namespace

// --- memory

cudaError_t cudaMalloc(void** address, size_t bytes) {
    const std::lock_guard guard(runtime_lock());
    *address = nullptr;
    if (const cudaError_t status = refused_in_capture(); status != cudaSuccess) return status;
    if (bytes == 0) return cudaSuccess;
    *address = allocate(bytes);
    return returned(*address == nullptr ? cudaErrorMemoryAllocation : cudaSuccess);
}

cudaError_t cudaFree(void* address) {
    const std::lock_guard guard(runtime_lock());
    if (address == nullptr) return cudaSuccess;
    if (const cudaError_t status = refused_in_capture(); status != cudaSuccess) return status;
    finish_all();  // as on a GPU: pending work may use it
    if (!release(address)) fault("cudaFree of what cudaMalloc did not give, or a second time");
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream) {
    const std::lock_guard guard(runtime_lock());
    if (bytes == 0) return cudaSuccess;
    const Range target{to, kind == cudaMemcpyHostToDevice || kind == cudaMemcpyDeviceToDevice},
        source{from, kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyDeviceToDevice};
    if (!fits(target, bytes) || !fits(source, bytes)) return returned(cudaErrorInvalidValue);
    CUstream_st* const where = stream_of(stream);
    if (where != nullptr && where->capture != nullptr && kind != cudaMemcpyDeviceToDevice) {  // all host memory here is pageable
        where->capture->invalidated = true;
        return returned(cudaErrorStreamCaptureUnsupported);
    }
    std::vector<const void*> uses;
    for (const Range& range : {target, source})
        if (range.on_device) uses.push_back(range.address);
    return enqueue_as(cudaGraphNodeTypeMemcpy, stream, "a copy", std::move(uses), [=] { std::memmove(to, from, bytes); });
}

cudaError_t cudaMemsetAsync(void* address, int value, size_t bytes, cudaStream_t stream) {
    const std::lock_guard guard(runtime_lock());
    if (bytes == 0) return cudaSuccess;
    if (!is_device_memory(address, bytes)) return returned(cudaErrorInvalidValue);
    return enqueue_as(cudaGraphNodeTypeMemset, stream, "a memset", {address}, [=] { std::memset(address, value, bytes); });
}

// --- the device

cudaError_t cudaDriverGetVersion(int* version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceCount(int* count) {
    *count = hidden() ? 0 : 1;
    return returned(hidden() ? cudaErrorNoDevice : cudaSuccess);
}

cudaError_t cudaGetDevice(int* device) {
    *device = 0;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) { return returned(is_the_device(device) ? cudaSuccess : cudaErrorInvalidDevice); }

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
    if (!is_the_device(device)) return returned(cudaErrorInvalidDevice);
    *properties = {};
    std::strcpy(properties->name, "simulated H100");
    properties->major = 9;
    properties->totalGlobalMem = 85029158912;
    properties->sharedMemPerBlock = shared_memory;
    properties->sharedMemPerBlockOptin = shared_memory_at_most;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = threads_of_a_block;
    properties->maxThreadsDim[0] = threads_of_a_block;
    properties->maxGridSize[0] = 2147483647;
    properties->multiProcessorCount = multiprocessors;
    properties->l2CacheSize = 50 << 20;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
    if (!is_the_device(device)) return returned(cudaErrorInvalidDevice);
    switch (attribute) {
        case cudaDevAttrMaxSharedMemoryPerBlockOptin:
            *value = shared_memory_at_most;
            return cudaSuccess;
        case cudaDevAttrMaxSharedMemoryPerBlock:
            *value = shared_memory;
            return cudaSuccess;
        case cudaDevAttrMultiProcessorCount:
            *value = multiprocessors;
            return cudaSuccess;
        case cudaDevAttrMaxThreadsPerBlock:
            *value = threads_of_a_block;
            return cudaSuccess;
        case cudaDevAttrComputeCapabilityMajor:
            *value = 9;
            return cudaSuccess;
        case cudaDevAttrComputeCapabilityMinor:
            *value = 0;
            return cudaSuccess;
        default:
            return returned(cudaErrorInvalidValue);
    }
}

// --- errors

const char* cudaGetErrorString(cudaError_t status) {
    switch (status) {
        case cudaSuccess:
            return "no error";
        case cudaErrorInvalidValue:
            return "an argument is invalid";
        case cudaErrorMemoryAllocation:
            return "out of memory";
        case cudaErrorInvalidConfiguration:
            return "a launch is too large";
        case cudaErrorInvalidResourceHandle:
            return "a handle is invalid";
        case cudaErrorNoDevice:
            return "no GPU";
        case cudaErrorInvalidDevice:
            return "no GPU of this number";
        case cudaErrorNotReady:
            return "not ready";
        case cudaErrorStreamCaptureUnsupported:
            return "not permitted while a stream is captured";
        case cudaErrorStreamCaptureInvalidated:
            return "an error before this one ended the capture";
        case cudaErrorStreamCaptureImplicit:
            return "the default stream may not be used while a blocking stream is captured";
        case cudaErrorStreamCaptureUnjoined:
            return "work of another stream was not joined to the capture's";
        case cudaErrorStreamCaptureIsolation:
            return "a captured stream waits for work outside the capture";
        case cudaErrorCapturedEvent:
            return "an event of a capture cannot be waited for";
        default:
            break;
    }
    thread_local std::string number;
    number = "CUDA error " + std::to_string(static_cast<int>(status));
    return number.c_str();
}
