#pragma once
// The list of networks: a family is a file of this folder, and a line in networks.cpp.
#include <functional>
#include <string>
#include <vector>

#include "layers/builder.h"

namespace mlkd {

struct NamedNetwork {
    std::string name;
    std::function<void(Builder&)> build;  // appends the operations, the logits last
};

std::vector<NamedNetwork> resnets();
std::vector<NamedNetwork> wide_resnets();

}  // namespace mlkd
