#pragma once
// The fill rule of the reference values: every number is a function of a name and an index (tests/golden/README.md).
#include <map>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"

namespace mlkd::golden {

std::vector<double> uniform(const std::string& name, std::size_t count);                 // [0, 1)
std::vector<double> symmetric(const std::string& name, std::size_t count, double scale); // (2·uniform − 1)·scale

// A state dictionary of the same entries and shapes as `like`, filled under `tag`.
std::map<std::string, HostTensor> filled_state(const std::map<std::string, HostTensor>& like, const std::string& tag);

// An image batch (N, 32, 32, 3) whose values in NCHW order are symmetric(name) at scale 2.
std::vector<float> filled_images(const std::string& name, std::int64_t batch);

}  // namespace mlkd::golden
