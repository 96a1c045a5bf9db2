// Linked in place of engine/cuda/ by a build without CUDA.
#include "engine/backend.h"

namespace mlkd {

std::unique_ptr<Backend> make_cuda_backend(std::string& why) {
    why = "this build has no CUDA (configure with the preset 'cuda')";
    return nullptr;
}

}  // namespace mlkd
