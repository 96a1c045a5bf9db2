// Stands in for engine/cuda in a build without CUDA.
#include "engine/backend.h"
#include "engine/machine/libraries.h"

namespace mlkd {

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions&, std::string& why) {
    why = "this program was built without CUDA (build the preset cuda)";
    return nullptr;
}

std::vector<Library> cuda_libraries() { return {}; }

}  // namespace mlkd
