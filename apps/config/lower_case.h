#pragma once
// Names in small letters, whatever the locale: only A to Z change.
#include <string>

namespace mlkd {

inline std::string lower_case(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

}  // namespace mlkd
