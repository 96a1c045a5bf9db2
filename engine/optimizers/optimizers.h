#pragma once
// The list of optimizers, by the names of solver.type.
#include <initializer_list>
#include <memory>

#include "engine/optimizers/optimizer.h"
#include "engine/settings/choice.h"

namespace mlkd {

// All of them with their default settings; SGD is chosen.
Choice<Optimizer> all_optimizers();

// One by its name, with settings by key: make_optimizer("SGD", {{"momentum", 0.5}}). Throws Error where there is no such thing.
std::unique_ptr<Optimizer> make_optimizer(const std::string& name, std::initializer_list<Assignment> settings = {});

}  // namespace mlkd
