#include "engine/settings/settings.h"

#include <fmt/format.h>

#include <type_traits>

#include "engine/error.h"

namespace mlkd {
namespace {

using Value = decltype(Assignment::value);

// Whether the value is of a fitting type.
template <class T>
bool convert(T& out, const Value& value) {
    const auto* list = std::get_if<std::vector<double>>(&value);
    if constexpr (std::is_arithmetic_v<T>) {
        const auto* number = std::get_if<double>(&value);
        if (number == nullptr && list != nullptr && list->size() == 1) number = list->data();
        if (number != nullptr) out = static_cast<T>(*number);
        return number != nullptr;
    } else {
        const auto* same = std::get_if<T>(&value);
        if (same != nullptr) out = *same;
        return same != nullptr;
    }
}

template <class T>
bool allowed(const T& value, const Rule<T>& rule) {
    return rule.holds(value);
}
bool allowed(const std::string& value, const NameRule& rule) { return !rule.find(value).empty(); }

}  // namespace

void set(Part& part, const Assignment& assignment) {
    bool known = false;
    for_each_setting(part, [&](const char* key, auto& value, const auto& rule, const char*) {
        std::remove_reference_t<decltype(value)> given{};
        if (std::string_view(key) != assignment.key || !convert(given, assignment.value)) return;
        known = true;
        if (!allowed(given, rule)) throw Error(fmt::format("{}: {} has a value that is not allowed", part.name(), key));
        value = given;
    });
    if (!known) throw Error(fmt::format("{}: has no setting '{}' of this type", part.name(), assignment.key));
}

bool has_setting(Part& part, const std::string& key) {
    bool found = false;
    for_each_setting(part, [&](const char* name, const auto&, const auto&, const char*) { found = found || key == name; });
    return found;
}

}  // namespace mlkd
