#pragma once
// Versions of the vendor libraries behind the backends, as compiled against and as loaded.
#include <string>
#include <vector>

namespace mlkd {

struct Library {
    std::string name, compiled, loaded;
};
std::vector<Library> libraries();
std::string compiled_for();  // the instruction set that the host code was compiled for

}  // namespace mlkd
