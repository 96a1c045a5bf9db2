#include "apps/report.h"

#include <CLI/Version.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <iterator>
#include <thread>
#include <vector>

#include "apps/output.h"
#include "engine/machine/libraries.h"

namespace mlkd {
namespace {

std::string compiler() {
#if defined(__clang__)
    return "Clang " __clang_version__;
#else
    return "GCC " __VERSION__;
#endif
}

}  // namespace

std::string program_version() { return "mlkd 0.1.0"; }

void print_environment(const Backend& backend) {
    print("{} on {}: {}\n", program_version(), name_of(backend.stream().device), backend.description());
}

void print_doctor() {
    const auto line = [](const char* what, const std::string& text) { print("{:<14} {}\n", what, text); };
    line("program", program_version());
    line("compiler", fmt::format("{} ({}, C++ {})", compiler(), compiled_for(), __cplusplus / 100 % 100));
    std::vector<Library> vendor = libraries();
    std::ranges::move(cuda_libraries(), std::back_inserter(vendor));
    for (const Library& library : vendor)
        line(library.name.c_str(), library.compiled == library.loaded
                                       ? library.loaded
                                       : fmt::format("compiled {}, loaded {}", library.compiled, library.loaded));
    line("zlib", fmt::format("compiled {}, loaded {}", ZLIB_VERSION, zlibVersion()));
    line("fmt", fmt::format("{}.{}.{}", FMT_VERSION / 10000, FMT_VERSION / 100 % 100, FMT_VERSION % 100));
    line("nlohmann_json", fmt::format("{}.{}.{}", NLOHMANN_JSON_VERSION_MAJOR, NLOHMANN_JSON_VERSION_MINOR, NLOHMANN_JSON_VERSION_PATCH));
    line("CLI11", CLI11_VERSION);
    line("CPU", make_cpu_backend()->description());
    line("cores", fmt::format("{} online, {} usable by this process", sysconf(_SC_NPROCESSORS_ONLN), std::thread::hardware_concurrency()));
    std::string why;
    const auto gpu = make_cuda_backend({}, why);
    line("GPU", gpu ? gpu->description() : fmt::format("none: {}", why));
}

}  // namespace mlkd
