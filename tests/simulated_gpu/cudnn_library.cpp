#include "tests/simulated_gpu/cudnn_library.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <exception>
#include <utility>

#include "tests/cuda/described_gpu.h"

namespace mlkd::simulated {
namespace {

template <class Function> void look_up(void* library, const char* name, Function*& function) {
    function = reinterpret_cast<Function*>(dlsym(library, name));
    if (function == nullptr) throw Error(fmt::format("the real cuDNN has no {}", name));
}

// By its path: this library has the same name.
cuda::Cudnn load() {
    void* const library = dlopen(MLKD_REAL_CUDNN, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) {
        const char* const reason = dlerror();
        throw Error(fmt::format("the simulated GPU plans convolutions with the real cuDNN {}, which cannot be loaded ({})", CUDNN_MAJOR,
                                reason != nullptr ? reason : "no reason given"));
    }
    cuda::Cudnn cudnn{};
    look_up(library, "cudnnGetVersion", cudnn.get_version);
    look_up(library, "cudnnGetErrorString", cudnn.error_string);
    look_up(library, "cudnnGetLastErrorString", cudnn.last_error_string);
    look_up(library, "cudnnBackendCreateDescriptor", cudnn.create_descriptor);
    look_up(library, "cudnnBackendDestroyDescriptor", cudnn.destroy_descriptor);
    look_up(library, "cudnnBackendSetAttribute", cudnn.set_attribute);
    look_up(library, "cudnnBackendGetAttribute", cudnn.get_attribute);
    look_up(library, "cudnnBackendFinalize", cudnn.finalize);
    return cudnn;
}

cuda::Descriptor describe_h100() {
    cuda::Descriptor properties(real_cudnn(), CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
    properties.set_array<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, test::h100);
    properties.finalize("properties of a GPU");
    return properties;
}

thread_local std::string last_refusal;

}  // namespace

const cuda::Cudnn& real_cudnn() {
    static const cuda::Cudnn cudnn = load();
    return cudnn;
}

const cuda::Descriptor& described_h100() {
    static const cuda::Descriptor properties = describe_h100();
    return properties;
}

cudnnStatus_t with_refusals(const std::function<cudnnStatus_t()>& call) {
    last_refusal.clear();
    try {
        return call();
    } catch (const Refusal& refusal) {
        last_refusal = refusal.what();
        return refusal.status();
    } catch (const std::exception& error) {
        last_refusal = error.what();
        return CUDNN_STATUS_INTERNAL_ERROR;
    }
}

std::string taken_refusal() { return std::exchange(last_refusal, {}); }

}  // namespace mlkd::simulated
