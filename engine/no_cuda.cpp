// Stands in for engine/cuda in a build without CUDA.
#include "engine/backend.h"
#include "engine/libraries.h"
#include "engine/vendor_batch_norm.h"

namespace mlkd {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&, std::string& why) {
    why = "this program was built without CUDA (build the preset cuda)";
    return nullptr;
}

std::unique_ptr<VendorBatchNorm> make_vendor_batch_norm(Backend&) { return nullptr; }

std::vector<Library> cuda_libraries() { return {}; }

}  // namespace mlkd
