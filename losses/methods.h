#pragma once
// The list of methods, by the names of distiller.type.
#include <initializer_list>
#include <memory>
#include <string>

#include "engine/settings/choice.h"
#include "losses/method.h"

namespace mlkd {

// All of them with their default settings; "none" is chosen.
Choice<Method> all_methods();

// One by its name, with settings by key: make_method("kd", {{"loss.kd_weight", 2.0}}). Throws Error where there is no such thing.
std::unique_ptr<Method> make_method(const std::string& name, std::initializer_list<Assignment> settings = {});

}  // namespace mlkd
