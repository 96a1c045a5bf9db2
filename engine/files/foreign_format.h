#pragma once
// Files of other programs, told by their first bytes.
#include <string>
#include <string_view>

namespace mlkd {

constexpr std::size_t foreign_format_bytes = 512;

// What a file is that begins with `start` (its first foreign_format_bytes, or all), and how to come from it to safetensors: "is a
// PyTorch checkpoint (zip); convert it: …". "" for what is not known.
std::string foreign_format(std::string_view start);

}  // namespace mlkd
