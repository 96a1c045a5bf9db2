#pragma once
// Python environments that some tests compare with, where they are installed.
#include <fmt/format.h>

#include <cstdlib>
#include <string>

namespace mlkd::test {

inline bool python_has(const std::string& python, const std::string& module) {
    return std::system(fmt::format("{} -c 'import {}' >/dev/null 2>&1", python, module).c_str()) == 0;
}

}  // namespace mlkd::test
