#include "engine/machine/libraries.h"

#include <fmt/format.h>

#include "engine/cpu/onednn.h"

namespace mlkd {

std::vector<Library> libraries() {
    const std::string compiled = fmt::format("{}.{}.{}", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH);
    return {{"oneDNN", compiled, cpu::onednn_version()}};
}

std::string compiled_for() {
#if defined(__AVX512F__)
    return "AVX-512";
#elif defined(__AVX2__)
    return "AVX2";
#else
    return "baseline x86-64";
#endif
}

}  // namespace mlkd
