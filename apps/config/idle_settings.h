#pragma once
// Settings that do nothing: refused where the whole run would do nothing, else said.
#include <string>
#include <vector>

#include "apps/config/config.h"

namespace mlkd {

// Throws UsageError where the rate falls to 0 or all weights of the loss are 0.
void refuse_idle(const Config& config);

// A line for each setting that has no effect in this run. `overrides`: the command line's, which are meant to have one.
std::vector<std::string> idle_settings(const Config& config, const std::vector<std::string>& overrides);

// The same for settings of a GPU in a run that has none.
std::vector<std::string> idle_on_cpu(const Config& config);

}  // namespace mlkd
