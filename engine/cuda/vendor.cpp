#include "engine/cuda/vendor.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <array>

#include "engine/error.h"

namespace mlkd::cuda {
namespace {

void require_version(const std::string& library, int loaded, int compiled) {
    if (const std::string why = version_obstacle(library, loaded, compiled); !why.empty()) throw Error(why);
}

}  // namespace

void* load_library(const std::string& file, const std::string& advice) {
    void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* reason = dlerror();
        throw Error(fmt::format("cannot load {} ({}): {}", file, reason != nullptr ? reason : "no reason given", advice));
    }
    return library;
}

std::string version_obstacle(const std::string& library, int loaded, int compiled) {
    if (loaded == compiled) return "";
    return fmt::format("{} {} was loaded, but this program needs version {}: install that, or put its folder first in LD_LIBRARY_PATH",
                       library, loaded, compiled);
}

void* function_of(void* library, const char* name) {
    void* const function = dlsym(library, name);
    if (function == nullptr) throw Error(fmt::format("{} is missing in the library that was loaded: it is too old or damaged", name));
    return function;
}

Cudnn load_cudnn() {
    void* library = load_library(fmt::format("libcudnn.so.{}", CUDNN_MAJOR),
                                 fmt::format("install cuDNN {}, or add its folder to LD_LIBRARY_PATH", CUDNN_MAJOR));
    Cudnn cudnn{};
    look_up(library, "cudnnGetVersion", cudnn.get_version);
    require_version("cuDNN", static_cast<int>(cudnn.get_version() / 10000), CUDNN_MAJOR);
    look_up(library, "cudnnGetErrorString", cudnn.error_string);
    look_up(library, "cudnnGetLastErrorString", cudnn.last_error_string);
    look_up(library, "cudnnCreate", cudnn.create);
    look_up(library, "cudnnDestroy", cudnn.destroy);
    look_up(library, "cudnnSetStream", cudnn.set_stream);
    look_up(library, "cudnnBackendCreateDescriptor", cudnn.create_descriptor);
    look_up(library, "cudnnBackendDestroyDescriptor", cudnn.destroy_descriptor);
    look_up(library, "cudnnBackendSetAttribute", cudnn.set_attribute);
    look_up(library, "cudnnBackendGetAttribute", cudnn.get_attribute);
    look_up(library, "cudnnBackendFinalize", cudnn.finalize);
    look_up(library, "cudnnBackendExecute", cudnn.execute);
    return cudnn;
}

Cublas load_cublas() {
    void* library = load_library(fmt::format("libcublas.so.{}", CUBLAS_VER_MAJOR),
                                 fmt::format("install cuBLAS of CUDA {}, or add its folder to LD_LIBRARY_PATH", CUBLAS_VER_MAJOR));
    Cublas cublas{};
    look_up(library, "cublasGetProperty", cublas.get_property);
    look_up(library, "cublasGetStatusString", cublas.status_string);
    look_up(library, "cublasCreate_v2", cublas.create);
    look_up(library, "cublasDestroy_v2", cublas.destroy);
    look_up(library, "cublasSetStream_v2", cublas.set_stream);
    look_up(library, "cublasSetWorkspace_v2", cublas.set_workspace);
    look_up(library, "cublasGemmStridedBatchedEx_64", cublas.gemm_strided_batched);
    int major = 0;
    cublas.check(cublas.get_property(MAJOR_VERSION, &major), "version");
    require_version("cuBLAS", major, CUBLAS_VER_MAJOR);
    return cublas;
}

std::string Cudnn::version() const {
    const std::size_t number = get_version();
    return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

std::string Cudnn::reason(cudnnStatus_t status) const {
    std::array<char, 512> message{};
    last_error_string(message.data(), message.size() - 1);
    for (char& c : message)
        if (c == '\n') c = ' ';
    return message[0] == '\0' ? error_string(status) : fmt::format("{} ({})", error_string(status), message.data());
}

void Cudnn::check(cudnnStatus_t status, const std::string& what) const {
    if (status != CUDNN_STATUS_SUCCESS) throw Error(fmt::format("cuDNN: {}: {}", what, reason(status)));
}

std::string Cublas::version() const {
    std::array<int, 3> parts{};
    constexpr std::array names{MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL};
    for (std::size_t i = 0; i < parts.size(); ++i) check(get_property(names[i], &parts[i]), "version");
    return fmt::format("{}.{}.{}", parts[0], parts[1], parts[2]);
}

void Cublas::check(cublasStatus_t status, const std::string& what) const {
    if (status != CUBLAS_STATUS_SUCCESS) throw Error(fmt::format("cuBLAS: {}: {}", what, status_string(status)));
}

}  // namespace mlkd::cuda
