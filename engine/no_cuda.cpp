// Stands in for a CUDA backend, which this program does not have yet: its kernels compile for a GPU, but the vendor
// operations of a GPU are missing.
#include "engine/backend.h"

namespace mlkd {

std::unique_ptr<Backend> make_cuda_backend(std::string& why) {
    why = "this version of mlkd computes on the CPU only";
    return nullptr;
}

}  // namespace mlkd
