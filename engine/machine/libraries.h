#pragma once
// Versions of the vendor libraries behind the backends, as compiled against and as loaded.
#include <string>
#include <vector>

namespace mlkd {

struct Library {
    std::string name, compiled, loaded;
};
std::vector<Library> libraries();
std::vector<Library> cuda_libraries();  // empty in a build without CUDA; loads what there is to see its version
std::string compiled_for();  // the instruction set that the host code was compiled for

}  // namespace mlkd
