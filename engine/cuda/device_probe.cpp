#include "engine/cuda/device_probe.h"

#include <fmt/format.h>

namespace mlkd::cuda {

std::string cuda_version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

DriverState driver_state() {
    DriverState state;
    if (cudaDriverGetVersion(&state.driver) != cudaSuccess) state.driver = 0;
    state.runtime = CUDART_VERSION;
    state.status = cudaGetDeviceCount(&state.count);
    return state;
}

std::string driver_obstacle(const DriverState& state, int ordinal) {
    if (state.driver == 0) return "no NVIDIA driver is installed (libcuda.so.1 cannot be loaded)";
    if (state.status == cudaErrorInsufficientDriver)
        return fmt::format("the NVIDIA driver is too old: it serves CUDA {}, this program needs {}; update the driver",
                           cuda_version_text(state.driver), cuda_version_text(state.runtime));
    if (state.status == cudaErrorNoDevice || (state.status == cudaSuccess && state.count == 0))
        return "the NVIDIA driver shows no GPU (none in this machine, or hidden by CUDA_VISIBLE_DEVICES)";
    if (state.status != cudaSuccess) return fmt::format("the NVIDIA driver fails: {}", cudaGetErrorString(state.status));
    if (ordinal >= state.count)
        return fmt::format("there is no GPU {}: the driver shows {}, counted from 0", ordinal, state.count);
    return "";
}

std::string kernel_obstacle(const cudaDeviceProp& gpu) {
    const cudaError_t status = kernel_image_status();
    if (status == cudaSuccess) return "";
    cudaGetLastError();
    if (status == cudaErrorNoKernelImageForDevice || status == cudaErrorInvalidDeviceFunction || status == cudaErrorUnsupportedPtxVersion)
        return fmt::format("{} (compute capability {}.{}) is not supported by this build: build with -DCMAKE_CUDA_ARCHITECTURES={}{}",
                           gpu.name, gpu.major, gpu.minor, gpu.major, gpu.minor);
    return fmt::format("{} fails: {}", gpu.name, cudaGetErrorString(status));
}

}  // namespace mlkd::cuda
