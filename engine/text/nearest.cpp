#include "engine/text/nearest.h"

#include <algorithm>
#include <cctype>
#include <iterator>
#include <numeric>

namespace mlkd {
namespace {

bool same_letter(char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
}

std::size_t edit_distance(const std::string& a, const std::string& b) {
    std::vector<std::size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 0; i < a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i + 1;
        for (std::size_t j = 0; j < b.size(); ++j) {
            const std::size_t substituted = diagonal + (same_letter(a[i], b[j]) ? 0 : 1);
            diagonal = row[j + 1];
            row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
        }
    }
    return row.back();
}

std::string digits(const std::string& text) {
    std::string found;
    std::copy_if(text.begin(), text.end(), std::back_inserter(found), [](char c) { return c >= '0' && c <= '9'; });
    return found;
}

}  // namespace

std::string nearest(const std::string& word, const std::vector<std::string>& known) {
    std::size_t least = std::clamp<std::size_t>((word.size() + 1) / 3, 1, 4) + 1;
    std::string found;
    for (const std::string& candidate : known)
        if (const std::size_t distance = edit_distance(word, candidate); distance < least && digits(word) == digits(candidate)) {
            least = distance;
            found = candidate;
        }
    return found;
}

std::string did_you_mean(const std::string& word, const std::vector<std::string>& known, const std::string& quote) {
    const std::string found = nearest(word, known);
    return found.empty() ? found : "; did you mean " + quote + found + quote + "?";
}

}  // namespace mlkd
