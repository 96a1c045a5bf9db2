#pragma once
// How to do a run again.
#include <string>

#include "apps/config/config.h"
#include "engine/backend.h"

namespace mlkd {

// A line for a shell, for the working folder of now: trains in a fresh folder beside `run_folder`, with the run's configuration,
// device, threads and seed, and with its convolutions: by --deterministic, or with a copy of its convolution plans.
std::string repeat_command(const Config& config, const Backend& backend, const std::string& run_folder);

// A word for a POSIX shell, in quotes where it needs them.
std::string shell_word(const std::string& text);

}  // namespace mlkd
