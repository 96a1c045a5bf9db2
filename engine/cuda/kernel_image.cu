#include "engine/cuda/device_probe.h"
#include "engine/kernels/launch.h"

namespace mlkd::cuda {
namespace {

struct Nothing {
    MLKD_HD void operator()(std::int64_t) const {}
};

}  // namespace

cudaError_t kernel_image_status() {
    cudaFuncAttributes attributes{};
    return cudaFuncGetAttributes(&attributes, reinterpret_cast<const void*>(index_kernel<Nothing>));
}

}  // namespace mlkd::cuda
