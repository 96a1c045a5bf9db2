#pragma once
// Where settings come from: a JSON file with comments, or arguments key=value. Both give a list of settings with their
// places; what they mean is config.cpp's business.
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace mlkd {

struct Setting {
    std::string key;  // dotted
    nlohmann::json value;
    std::string place;  // "configs/kd.json:12" or "command line"
    std::string text;   // on the command line, the value as it was written
};

enum class KeyKind { unknown, section, key };
using KeyKindOf = std::function<KeyKind(const std::string& dotted)>;

// The settings of a file; "solver.lr" may be written with its dot, too. Throws UsageError with file:line:column for bad syntax, and with
// file:line for a key that occurs twice, or a section that is not an object.
std::vector<Setting> settings_of_file(const std::string& path, const KeyKindOf& kind_of);

// The setting of one argument. Throws UsageError where it has no '=' or nothing behind it; the empty text is "".
Setting setting_of_argument(const std::string& argument);

// The settings of all arguments. Throws UsageError, which names both, where two give a key different values.
std::vector<Setting> settings_of_arguments(const std::vector<std::string>& arguments);

// For messages, short: number 3.5, text "x".
std::string describe(const nlohmann::json& value);

}  // namespace mlkd
