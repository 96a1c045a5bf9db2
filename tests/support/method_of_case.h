#pragma once
// The method that a golden case's metadata describes: its name, and a value for each setting under the last part of its key.
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "losses/methods.h"

namespace mlkd::test {

inline std::unique_ptr<Method> method_of_case(const SafetensorsFile& file) {
    Choice<Method> all = all_methods();
    all.chosen = file.meta("method");
    std::vector<std::pair<std::string, nlohmann::json>> given;
    for (const auto& [name, text] : file.metadata)
        if (const auto value = nlohmann::json::parse(text, nullptr, false); !value.is_discarded())
            given.emplace_back(name, value);
        else
            given.emplace_back(name, text);
    // kd's cases name its one temperature as a list.
    for_each_setting(*all, [&](const std::string& key, auto& value, const auto&, const char*) {
        using T = std::remove_reference_t<decltype(value)>;
        const std::string name = key.substr(key.rfind('.') + 1);
        for (const auto& [other, json] : given) {
            if (other == name) value = json.template get<T>();
            if constexpr (std::is_same_v<T, double>)
                if (other == name + "s" && json.is_array()) value = json.at(0).template get<double>();
        }
    });
    return all->clone();
}

// The numbers that a method changes by epoch, where the case names them.
inline void set_numbers(Loss& loss, const SafetensorsFile& file) {
    for (const auto& [name, value] : loss.method().numbers(1))
        if (const auto found = file.metadata.find(name); found != file.metadata.end()) loss.set_number(name, std::stod(found->second));
}

}  // namespace mlkd::test
