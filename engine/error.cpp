#include "engine/error.h"

#include <cstring>

namespace mlkd {

void fail_check(const char* expression, const char* file, int line, const std::string& message) {
    const char* slash = std::strrchr(file, '/');
    throw Error(message + " [" + expression + ", " + (slash ? slash + 1 : file) + ":" + std::to_string(line) + "]");
}

}  // namespace mlkd
