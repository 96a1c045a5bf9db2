#include "engine/settings/settings.h"

#include <fmt/format.h>

#include <type_traits>

#include "engine/error.h"

namespace mlkd {

void set(Part& part, const std::string& key, double number) {
    bool known = false;
    for_each_setting(part, [&](const char* name, auto& value, const auto& rule, const char*) {
        using T = std::remove_reference_t<decltype(value)>;
        if constexpr (std::is_arithmetic_v<T>) {
            if (key != name) return;
            known = true;
            if (const auto given = static_cast<T>(number); rule.holds(given))
                value = given;
            else
                throw Error(fmt::format("{}: {} is {}, allowed: {}", part.name(), key, number, rule.allowed));
        }
    });
    if (!known) throw Error(fmt::format("{}: has no number '{}'", part.name(), key));
}

bool has_setting(Part& part, const std::string& key) {
    bool found = false;
    for_each_setting(part, [&](const char* name, const auto&, const auto&, const char*) { found = found || key == name; });
    return found;
}

}  // namespace mlkd
