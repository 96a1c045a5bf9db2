#include "apps/config/config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string_view>

#include "apps/config/config_keys.h"
#include "apps/config/config_source.h"
#include "apps/config/file_name.h"
#include "apps/config/fnv1a.h"
#include "apps/config/foreign_names.h"
#include "apps/config/idle_settings.h"
#include "apps/config/lower_case.h"
#include "engine/error.h"
#include "engine/text/nearest.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

[[noreturn]] void fail(const Setting& setting, const std::string& reason) {
    throw UsageError(fmt::format("{}: {}: {}", setting.place, setting.key, reason));
}

[[noreturn]] void wrong_type(const Setting& setting, const char* expected) {
    fail(setting, fmt::format("expected {}, got {}", expected, describe(setting.value)));
}

void read(bool& out, const Setting& setting) {
    if (!setting.value.is_boolean()) wrong_type(setting, "true or false");
    out = setting.value.get<bool>();
}

// A run computes in float32: a number must not become 0 or infinity there.
double read_number(const json& value, const Setting& setting) {
    const double number = value.get<double>();
    const auto rounded = static_cast<float>(number);
    if (!std::isfinite(rounded)) fail(setting, "is too large for float32, which ends at 3.4e38");
    if (rounded == 0 && number != 0) fail(setting, fmt::format("{} becomes 0 in float32; write 0 if that is meant", describe(value)));
    return number;
}

void read(double& out, const Setting& setting) {
    if (!setting.value.is_number()) wrong_type(setting, "a number");
    out = read_number(setting.value, setting);
}

// 64.0 and 1e1 are integers, as in JSON Schema; whatever else stays as it is.
json as_integer(const json& value) {
    if (!value.is_number_float()) return value;
    const double number = value.get<double>();
    if (number != std::trunc(number)) return value;
    if (number >= 0 && number < 0x1p64) return static_cast<std::uint64_t>(number);
    if (number < 0 && number >= -0x1p63) return static_cast<std::int64_t>(number);
    return value;
}

bool is_int(const json& value) {
    if (value.is_number_unsigned()) return value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<int>::max()};
    return value.is_number_integer() && value.get<std::int64_t>() >= std::numeric_limits<int>::min();
}

void read(int& out, const Setting& setting) {
    const json value = as_integer(setting.value);
    if (!value.is_number_integer()) wrong_type(setting, "an integer");
    if (!is_int(value)) fail(setting, fmt::format("{} is out of range", describe(value)));
    out = value.get<int>();
}

void read(std::uint64_t& out, const Setting& setting) {
    const json value = as_integer(setting.value);
    if (!value.is_number_unsigned()) wrong_type(setting, "an integer from 0 to 2^64 - 1");
    out = value.get<std::uint64_t>();
}

void read(std::string& out, const Setting& setting) {
    // On the command line, what looks like a number is text too where text is wanted: experiment.name=3.
    if (setting.value.is_string())
        out = setting.value.get<std::string>();
    else if (!setting.text.empty())
        out = setting.text;
    else
        wrong_type(setting, "text in quotes");
    if (!is_utf8(out)) fail(setting, fmt::format("{} is not UTF-8, and the run's config.json could not hold it; choose or make another name", in_quotes(out)));
}

void read(std::vector<int>& out, const Setting& setting) {
    if (!setting.value.is_array()) wrong_type(setting, "a list of integers [...]");
    out.clear();
    for (const json& given : setting.value) {
        const json entry = as_integer(given);
        if (!is_int(entry)) wrong_type(setting, "a list of integers [...]");
        out.push_back(entry.get<int>());
    }
}

void read(std::vector<double>& out, const Setting& setting) {
    if (!setting.value.is_array()) wrong_type(setting, "a list of numbers [...]");
    out.clear();
    for (const json& entry : setting.value) {
        if (!entry.is_number()) wrong_type(setting, "a list of numbers [...]");
        out.push_back(read_number(entry, setting));
    }
}

// What follows a value that is none of the known ones.
std::string advice(const std::string& key, const std::string& text, const std::vector<std::string>& known) {
    const bool capitals = std::find(known.begin(), known.end(), lower_case(text)) != known.end();  // it is one but for these
    std::string foreign = foreign_name(key, text);
    if (foreign.empty() && key == "distiller.type" && !capitals) foreign = missing_method(text);
    return foreign.empty() ? did_you_mean(text, known) : ": " + foreign;
}

template <class T> void check(const T& value, const Rule<T>& rule, const Setting& setting) {
    if (!rule.holds(value)) fail(setting, fmt::format("impossible value {}; allowed: {}", setting.value.dump(), rule.allowed));
}
// The names of "auto, cpu, cuda or cuda:N"; none where the rule is no such list.
std::vector<std::string> listed(std::string allowed) {
    const std::size_t last = allowed.find(" or ");
    if (last == std::string::npos) return allowed.find(' ') == std::string::npos ? std::vector{allowed} : std::vector<std::string>{};
    allowed.replace(last, 4, ", ");
    std::vector<std::string> names;
    for (std::size_t start = 0, end = 0; end != std::string::npos; start = end + 2) {
        end = allowed.find(", ", start);
        names.push_back(allowed.substr(start, end - start));
    }
    return names;
}
void check(std::string& value, const NameRule& rule, const Setting& setting) {
    const std::vector<std::string> names = rule.names();
    const std::string known = rule.find(value);
    if (known.empty()) {
        const std::string hint = advice(setting.key, value, names);
        fail(setting,
             fmt::format("unknown {}{}{}allowed: {}", in_quotes(value), hint, hint.ends_with('?') ? " " : "; ", fmt::join(names, ", ")));
    }
    value = known;
}
void check(const std::string& value, const Rule<std::string>& rule, const Setting& setting) {
    if (rule.holds(value)) return;
    const bool model = rule.holds == rules::model.holds || rule.holds == rules::model_or_none.holds;
    if (model) fail(setting, fmt::format("unknown model {}{}", in_quotes(value), model_advice(value)));
    const std::string hint = advice(setting.key, value, listed(rule.allowed));
    fail(setting,
         fmt::format("impossible value {}{}{}allowed: {}", in_quotes(value), hint, hint.ends_with('?') ? " " : "; ", rule.allowed));
}

KeyKind kind_of(const std::string& name) {
    for (const std::string& key : config_keys()) {
        if (key == name) return KeyKind::key;
        if (key.starts_with(name) && key[name.size()] == '.') return KeyKind::section;
    }
    return KeyKind::unknown;
}

// A key's last part alone ("lr") means that key; else the nearest by edit distance, among sections too.
std::string key_advice(const std::string& name) {
    if (const std::string key = key_ending_in(name); !key.empty()) return fmt::format("; did you mean {}?", key);
    if (const std::string foreign = foreign_name("", name.substr(name.rfind('.') + 1)); !foreign.empty()) return ": " + foreign;
    std::vector<std::string> candidates = config_keys();
    for (const std::string& key : config_keys())
        for (std::size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.', dot + 1))
            candidates.push_back(key.substr(0, dot));
    const std::string meant = did_you_mean(name, candidates, "");
    return meant.empty() ? "; docs/recipes.md lists all keys" : meant;
}

void apply(Config& config, const Setting& setting) {
    bool known = false;
    for_each_key(config, [&](const char* key, auto& value, const auto& rule) {
        if (setting.key != key) return;
        known = true;
        read(value, setting);
        check(value, rule, setting);
    });
    if (known) return;
    if (kind_of(setting.key) == KeyKind::section) fail(setting, "is a section; set one of its keys");
    throw UsageError(fmt::format("{}: unknown key {}{}", setting.place, in_quotes(setting.key), key_advice(setting.key)));
}

template <class T> ordered_json json_of(const T& value) { return value; }

void put(ordered_json& root, const std::string& key, ordered_json value) {
    ordered_json* node = &root;
    std::size_t start = 0;
    for (std::size_t dot = key.find('.'); dot != std::string::npos; start = dot + 1, dot = key.find('.', start))
        node = &(*node)[key.substr(start, dot - start)];
    (*node)[key.substr(start)] = std::move(value);
}

}  // namespace

Config load_config(const std::string& path, const std::vector<std::string>& overrides) {
    Config config;
    std::map<std::string, std::string> places;
    const auto take = [&](const Setting& setting) {
        apply(config, setting);
        places[setting.key] = setting.place;
    };
    if (!path.empty())
        for (const Setting& setting : settings_of_file(path, kind_of)) take(setting);
    for (const Setting& setting : settings_of_arguments(overrides)) take(setting);

    if (config.distiller.method->has_teacher() && config.distiller.teacher.empty())
        throw UsageError(fmt::format("{}: distiller.teacher: distiller.type {} needs a teacher; name its model",
                                     places.count("distiller.type") ? places["distiller.type"] : path, config.distiller.method.chosen));
    if (config.deterministic && config.nondeterministic)
        throw UsageError(fmt::format("{}: deterministic: excludes nondeterministic; set one of them to false",
                                     places.count("deterministic") ? places["deterministic"] : path));
    config.solver.optimizer->check();
    config.distiller.method->check();
    refuse_idle(config);
    return config;
}

ordered_json to_json(const Config& config) {
    ordered_json root = ordered_json::object();
    for_each_key(config, [&](const char* key, const auto& value, const auto&) { put(root, key, json_of(value)); });
    return root;
}

ordered_json settings_of(const Config& config) {
    ordered_json settings = ordered_json::object();
    for_each_key(config, [&](const char* key, const auto& value, const auto&) { settings[key] = json_of(value); });
    return settings;
}

Config config_of(const ordered_json& settings, const std::string& place) {
    Config config;
    for (const auto& [key, value] : settings.items()) apply(config, {key, value, place, ""});
    return config;
}

namespace {

bool is_of_methods(const Config& config, const std::string& key) {
    const auto& methods = config.distiller.method.parts;
    return std::any_of(methods.begin(), methods.end(),
                       [&](const auto& method) { return key.starts_with(std::string(method->section()) + "."); });
}

}  // namespace

const char* out_of_use_by(const Config& config, const std::string& key) {
    const Method& method = *config.distiller.method;
    const bool of_other_method = is_of_methods(config, key) && !key.starts_with(std::string(method.section()) + ".");
    if (of_other_method || (key.starts_with("distiller.teacher") && !method.has_teacher())) return "distiller.type";
    if (!key.starts_with("solver.")) return nullptr;
    if (key.starts_with("solver.lr_decay_") && config.solver.schedule != "step") return "solver.schedule";
    const std::string name = key.substr(std::string_view("solver.").size());
    const auto& optimizers = config.solver.optimizer.parts;
    const bool an_optimizers =
        std::any_of(optimizers.begin(), optimizers.end(), [&](const auto& part) { return has_setting(*part, name); });
    return an_optimizers && !has_setting(*config.solver.optimizer, name) ? "solver.type" : nullptr;
}

namespace {

// Of solver: in the hash whatever their value. Keys that came later are there where they differ from their default, so that the
// hashes of older runs stay.
bool is_founding_key(const std::string& key) {
    static const std::set<std::string> keys{"solver.type",         "solver.batch_size",      "solver.epochs",
                                            "solver.lr",           "solver.lr_decay_stages", "solver.lr_decay_rate",
                                            "solver.weight_decay", "solver.momentum",        "solver.seed"};
    return keys.contains(key);
}

}  // namespace

bool determines_numbers(const Config& config, const std::string& key) {
    if (out_of_use_by(config, key) != nullptr) return false;
    if (key.starts_with("solver.")) return is_founding_key(key) || settings_of(config)[key] != settings_of(Config{})[key];
    if (key == "distiller.type" || key == "distiller.student") return true;
    if (key == "dataset.type" || key == "dataset.train_images" || key == "dataset.test.batch_size") return true;
    if (key == "dataset.test.images") return config.dataset.test.images > 0;
    if (key == "precision") return config.precision == "bf16";
    if (key == "deterministic") return config.deterministic;
    return key.starts_with("distiller.teacher") || is_of_methods(config, key);
}

ordered_json numeric_settings(const Config& config) {
    ordered_json settings = settings_of(config);
    for (const std::string& key : config_keys())
        if (key == "distiller.teacher_checkpoint" || (!determines_numbers(config, key) && key != "products" && key != "nondeterministic"))
            settings.erase(key);
    return settings;
}

std::string config_hash(const Config& config) {
    Fnv1a hash;
    for_each_key(config, [&](const char* key, const auto& value, const auto&) {
        if (!determines_numbers(config, key)) return;
        hash.add(fmt::format("{}={}\n", key, json_of(value).dump()));
    });
    return hash.text();
}

std::string output_folder(const Config& config) {
    if (!config.output.empty()) return config.output;
    const Config::Experiment& experiment = config.experiment;
    return config.log.prefix + "/" + file_name_of(experiment.project) + "/" +
           file_name_of(experiment.name.empty() ? experiment.tag : experiment.name);
}

std::string key_ending_in(const std::string& name) {
    std::string found;
    for (const std::string& key : config_keys())
        if (key.substr(key.rfind('.') + 1) == lower_case(name) && (found.empty() || key.starts_with("solver."))) found = key;
    return found;
}

std::vector<std::string> config_keys() {
    std::vector<std::string> keys;
    const Config config;
    for_each_key(config, [&](const char* key, const auto&, const auto&) { keys.emplace_back(key); });
    return keys;
}

std::vector<std::string> method_key_rows() {
    std::vector<std::string> rows;
    const Config config;
    for (const auto& method : config.distiller.method.parts)
        for_each_setting(*method, [&](const char* key, const auto& value, const auto&, const char* meaning) {
            std::string row = fmt::format("| `{}.{}` | `{}` | {} |", method->section(), key, json_of(value).dump(), meaning);
            if (std::find(rows.begin(), rows.end(), row) == rows.end()) rows.push_back(std::move(row));
        });
    return rows;
}

}  // namespace mlkd
