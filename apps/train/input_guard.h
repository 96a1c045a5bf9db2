#pragma once
// Keeps a command from replacing what it reads.
#include <string>
#include <vector>

namespace mlkd {

// Throws UsageError where `file`, which a command is about to write or remove, is one of its inputs: under the same name or
// another one (a link of either kind, a relative path). Files that do not exist, and empty names, are nobody's input.
void refuse_to_replace_input(const std::string& file, const std::vector<std::string>& inputs);

}  // namespace mlkd
