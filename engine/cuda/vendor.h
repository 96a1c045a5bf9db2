#pragma once
// cuDNN and cuBLAS, loaded when a backend is made: the program starts where they are not installed. Tables of the functions
// in use; a new one is a line here and a line in vendor.cpp. The CUDA runtime is linked statically and needs no file.
#include <cublas_v2.h>
#include <cudnn_graph.h>

#include <string>

namespace mlkd::cuda {

struct Cudnn {
    decltype(&::cudnnGetVersion) get_version;
    decltype(&::cudnnGetErrorString) error_string;
    decltype(&::cudnnGetLastErrorString) last_error_string;
    decltype(&::cudnnCreate) create;
    decltype(&::cudnnDestroy) destroy;
    decltype(&::cudnnSetStream) set_stream;
    decltype(&::cudnnBackendCreateDescriptor) create_descriptor;
    decltype(&::cudnnBackendDestroyDescriptor) destroy_descriptor;
    decltype(&::cudnnBackendSetAttribute) set_attribute;
    decltype(&::cudnnBackendGetAttribute) get_attribute;
    decltype(&::cudnnBackendFinalize) finalize;
    decltype(&::cudnnBackendExecute) execute;

    std::string version() const;  // "9.19.0", of the loaded library
    // Throws Error "cuDNN: <what>: <reason>" unless the status is success.
    void check(cudnnStatus_t status, const std::string& what) const;
    std::string reason(cudnnStatus_t status) const;  // the status in words, and the library's last message
};

struct Cublas {
    decltype(&::cublasGetProperty) get_property;
    decltype(&::cublasGetStatusString) status_string;
    decltype(&::cublasCreate_v2) create;
    decltype(&::cublasDestroy_v2) destroy;
    decltype(&::cublasSetStream_v2) set_stream;
    decltype(&::cublasSetWorkspace_v2) set_workspace;
    decltype(&::cublasGemmStridedBatchedEx_64) gemm_strided_batched;

    std::string version() const;
    void check(cublasStatus_t status, const std::string& what) const;
};

// Throw Error in one line when the library is missing, of another major version than the program was compiled for, or
// lacks a function. Loaded libraries stay until the program ends: they keep threads and contexts of their own.
Cudnn load_cudnn();
Cublas load_cublas();

// The handle of `file`, else Error: "libcudnn.so.9 not found (<the linker's reason>): <advice>".
void* load_library(const std::string& file, const std::string& advice);

// A function of a loaded library; throws Error likewise.
void* function_of(void* library, const char* name);
template <class Function> void look_up(void* library, const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(function_of(library, name));
}

// Why a library of major version `loaded` does not serve a program compiled for `compiled`; "" when it does.
std::string version_obstacle(const std::string& library, int loaded, int compiled);

}  // namespace mlkd::cuda
