#pragma once
// Where the repository's files are for a test program: reference values, recipes, scripts. The program may run on another machine
// than it was built on: MLKD_SOURCES names the folder there, or it lies around the program's own, as in a bundle
// (scripts/gpu_bundle.sh).
#include <cstdlib>
#include <filesystem>

namespace mlkd::test {

inline std::filesystem::path sources() {
    if (const char* set = std::getenv("MLKD_SOURCES"); set != nullptr && *set != '\0') return set;
    std::error_code unknown;
    const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", unknown);
    const std::filesystem::path around = program.parent_path().parent_path();
    if (std::filesystem::is_directory(around / "tests" / "golden", unknown)) return around;
    return MLKD_SOURCE_DIR;
}

inline std::filesystem::path reference_values() { return sources() / "tests" / "golden"; }

}  // namespace mlkd::test
