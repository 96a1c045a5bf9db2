#include "engine/machine/available_memory.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "engine/error.h"

namespace mlkd {
namespace {

// The number behind a word at the start of a line ("MemAvailable:", "inactive_file"), or of the whole file for "".
std::optional<std::uint64_t> number_in(const std::string& path, const std::string& word) {
    std::ifstream file(path);
    std::uint64_t value = 0;
    if (word.empty()) return file >> value ? std::optional(value) : std::nullopt;
    for (std::string first; file >> first; file.ignore(4096, '\n'))
        if (first == word) return file >> value ? std::optional(value) : std::nullopt;
    return std::nullopt;
}

std::string control_group(const std::string& root) {
    std::ifstream file(root + "/proc/self/cgroup");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("0::")) return line.substr(3);
    return {};
}

}  // namespace

std::optional<std::uint64_t> available_memory(const std::string& root) {
    std::optional<std::uint64_t> least = number_in(root + "/proc/meminfo", "MemAvailable:");
    if (least) *least *= 1024;
    // In a container the group's own path may lie outside what is mounted: then the mount is the group.
    for (const std::string& group : {root + "/sys/fs/cgroup" + control_group(root), root + "/sys/fs/cgroup"}) {
        const auto limit = number_in(group + "/memory.max", ""), used = number_in(group + "/memory.current", "");  // "max": no number
        if (!limit || !used) continue;
        const std::uint64_t cached = number_in(group + "/memory.stat", "inactive_file").value_or(0);  // given back where memory is short
        const std::uint64_t held = *used - std::min(*used, cached);
        const std::uint64_t left = *limit - std::min(*limit, held);
        least = least ? std::min(*least, left) : left;
    }
    return least;
}

void require_memory(std::uint64_t bytes) {
    constexpr std::uint64_t large = std::uint64_t{64} << 20;
    const auto left = bytes >= large ? available_memory() : std::nullopt;
    if (left && *left < bytes)
        throw Error(fmt::format("out of memory: cannot allocate {:.1f} GiB, {:.1f} GiB are left; a smaller batch or fewer images need less",
                                static_cast<double>(bytes) / (1 << 30), static_cast<double>(*left) / (1 << 30)));
}

}  // namespace mlkd
