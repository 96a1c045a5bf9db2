#include "engine/machine/libraries.h"

#include <fmt/format.h>

#include "engine/cuda/device_probe.h"
#include "engine/cuda/vendor.h"
#include "engine/error.h"

namespace mlkd {
namespace {

template <class Load> Library library(const char* name, const std::string& compiled, Load load) {
    try {
        return {name, compiled, load().version()};
    } catch (const Error& error) {
        return {name, compiled, fmt::format("none: {}", error.what())};
    }
}

}  // namespace

std::vector<Library> cuda_libraries() {
    const int driver = cuda::driver_state().driver;
    const std::string runtime = cuda::cuda_version_text(CUDART_VERSION);
    return {{"CUDA", runtime, driver == 0 ? "none: no driver" : fmt::format("a driver for {}", cuda::cuda_version_text(driver))},
            library("cuDNN", fmt::format("{}.{}.{}", CUDNN_MAJOR, CUDNN_MINOR, CUDNN_PATCHLEVEL), cuda::load_cudnn),
            library("cuBLAS", fmt::format("{}.{}.{}", CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR, CUBLAS_VER_PATCH), cuda::load_cublas)};
}

}  // namespace mlkd
