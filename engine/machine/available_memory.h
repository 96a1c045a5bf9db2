#pragma once
// How much memory this process may still take.
#include <cstdint>
#include <optional>
#include <string>

namespace mlkd {

// Bytes that the system has left for it without swapping, or its control group (version 2) where that is less; no value where the
// system does not say. `root` stands before /proc and /sys, for tests.
std::optional<std::uint64_t> available_memory(const std::string& root = "");

// Throws Error where `bytes`, which are about to be taken, are more than is available. Linux promises more memory than there is
// and kills the process that uses it. Looks at large requests alone.
void require_memory(std::uint64_t bytes);

}  // namespace mlkd
