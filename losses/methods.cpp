#include "losses/methods.h"

namespace mlkd {

// Each in a file of its own.
std::unique_ptr<Method> make_none();
std::unique_ptr<Method> make_kd();
std::unique_ptr<Method> make_mlkd();
std::unique_ptr<Method> make_mlkd_official();
std::unique_ptr<Method> make_dkd();

Choice<Method> all_methods() {
    std::vector<std::unique_ptr<Method>> parts;
    for (const auto make : {make_none, make_kd, make_mlkd, make_mlkd_official, make_dkd}) parts.push_back(make());
    return {std::move(parts), "none"};
}

std::unique_ptr<Method> make_method(const std::string& name, std::initializer_list<Assignment> settings) {
    Choice<Method> all = all_methods();
    all.chosen = name;
    for (const Assignment& assignment : settings) set(*all, assignment);
    return all->clone();
}

}  // namespace mlkd
