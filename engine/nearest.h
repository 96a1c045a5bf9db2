#pragma once
// The known word nearest to a misspelt one, for error messages.
#include <string>
#include <vector>

namespace mlkd {

// By edit distance (Levenshtein), upper and lower case alike; the first of several; "" when `known` is empty.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace mlkd
