#pragma once
// The known word nearest to a misspelt one, for error messages.
#include <string>
#include <vector>

namespace mlkd {

// By edit distance (Levenshtein), upper and lower case alike; the first of several. "" where none is close: more than a third of
// the word's letters, or more than four, would have to change. Numbers must be the same: resnet18 is not a misspelt resnet14.
std::string nearest(const std::string& word, const std::vector<std::string>& known);

// `; did you mean "WORD"?` with the nearest word between the given quotes, or "".
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known, const std::string& quote = "\"");

}  // namespace mlkd
