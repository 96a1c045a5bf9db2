#include "apps/train/input_guard.h"

#include <fmt/format.h>

#include <filesystem>

#include "engine/error.h"

namespace mlkd {

void refuse_to_replace_input(const std::string& file, const std::vector<std::string>& inputs) {
    for (const std::string& input : inputs) {
        std::error_code absent;
        if (std::filesystem::equivalent(file, input, absent) && !absent)  // the same device and inode
            throw UsageError(fmt::format("{}: would be replaced, but is the input {}; choose another output", file, input));
    }
}

}  // namespace mlkd
