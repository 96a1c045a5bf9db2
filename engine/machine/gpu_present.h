#pragma once
#include <string>

namespace mlkd {

// Whether the machine has an NVIDIA GPU whose driver is loaded, whatever this program can do with it: the driver's files under /dev
// and /proc tell. `root`: where those folders lie, for tests.
bool gpu_present(const std::string& root = "/");

}  // namespace mlkd
