#include "engine/error.h"

namespace mlkd {

void fail_check(const std::string& message) { throw Error(message + " [internal check]"); }

}  // namespace mlkd
