#include "engine/machine/gpu_present.h"

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <string_view>

namespace mlkd {
namespace {

namespace fs = std::filesystem;

// Whether a folder that may not be there has an entry with such a name.
template <class Condition> bool has_entry(const fs::path& folder, Condition condition) {
    std::error_code absent;
    for (fs::directory_iterator entry(folder, absent), end; !absent && entry != end; entry.increment(absent))
        if (condition(entry->path().filename().string())) return true;
    return false;
}

// "nvidia0", and the name of Windows' GPUs in its Linux.
bool is_gpu_device(const std::string& name) {
    constexpr std::string_view start = "nvidia";
    if (name == "dxg") return true;
    return name.starts_with(start) && name.size() > start.size() &&
           std::all_of(name.begin() + start.size(), name.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

}  // namespace

bool gpu_present(const std::string& root) {
    return has_entry(fs::path(root) / "dev", is_gpu_device) ||
           has_entry(fs::path(root) / "proc/driver/nvidia/gpus", [](const std::string&) { return true; });
}

}  // namespace mlkd
