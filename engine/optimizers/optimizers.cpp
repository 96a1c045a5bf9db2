#include "engine/optimizers/optimizers.h"

namespace mlkd {

// Each in a file of its own.
std::unique_ptr<Optimizer> make_sgd();
std::unique_ptr<Optimizer> make_adamw();

Choice<Optimizer> all_optimizers() {
    std::vector<std::unique_ptr<Optimizer>> parts;
    for (const auto make : {make_sgd, make_adamw}) parts.push_back(make());
    return {std::move(parts), "SGD"};
}

std::unique_ptr<Optimizer> make_optimizer(const std::string& name, std::initializer_list<Assignment> settings) {
    Choice<Optimizer> all = all_optimizers();
    all.chosen = name;
    for (const Assignment& assignment : settings) set(*all, assignment);
    return all->clone();
}

}  // namespace mlkd
