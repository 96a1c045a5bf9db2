#pragma once
// Names that people choose (tags, labels) as parts of paths.
#include <cctype>
#include <string>

namespace mlkd {

// Letters, digits, bytes beyond ASCII and "-_.+" stay, whatever else becomes '_'; never empty, "." or "..", never hidden.
inline std::string file_name_of(const std::string& text) {
    std::string out = text.empty() || text.front() == '.' ? "_" : "";
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        const bool plain = byte >= 0x80 || std::isalnum(byte) != 0 || c == '-' || c == '_' || c == '.' || c == '+';
        out += plain ? c : '_';
    }
    return out;
}

}  // namespace mlkd
