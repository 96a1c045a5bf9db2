#include "apps/config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <map>

#include "apps/config_keys.h"
#include "apps/config_source.h"
#include "apps/file_name.h"
#include "apps/fnv1a.h"
#include "engine/error.h"
#include "engine/nearest.h"

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

void read(double& out, const Setting& setting) {
    if (!setting.value.is_number()) wrong_type(setting, "a number");
    out = setting.value.get<double>();
    if (!std::isfinite(out)) fail(setting, "is too large");
}

bool is_int(const json& value) {
    if (value.is_number_unsigned()) return value.get<std::uint64_t>() <= std::uint64_t{std::numeric_limits<int>::max()};
    return value.is_number_integer() && value.get<std::int64_t>() >= std::numeric_limits<int>::min();
}

void read(int& out, const Setting& setting) {
    if (!setting.value.is_number_integer()) wrong_type(setting, "an integer");
    if (!is_int(setting.value)) fail(setting, fmt::format("{} is out of range", describe(setting.value)));
    out = setting.value.get<int>();
}

void read(std::uint64_t& out, const Setting& setting) {
    if (!setting.value.is_number_unsigned()) wrong_type(setting, "an integer from 0 to 2^64 - 1");
    out = setting.value.get<std::uint64_t>();
}

void read(std::string& out, const Setting& setting) {
    // On the command line, what looks like a number is text too where text is wanted: experiment.name=3.
    if (setting.value.is_string())
        out = setting.value.get<std::string>();
    else if (!setting.text.empty())
        out = setting.text;
    else
        wrong_type(setting, "text in quotes");
}

void read(std::vector<int>& out, const Setting& setting) {
    if (!setting.value.is_array()) wrong_type(setting, "a list of integers [...]");
    out.clear();
    for (const json& entry : setting.value) {
        if (!is_int(entry)) wrong_type(setting, "a list of integers [...]");
        out.push_back(entry.get<int>());
    }
}

void read(std::vector<double>& out, const Setting& setting) {
    if (!setting.value.is_array()) wrong_type(setting, "a list of numbers [...]");
    out.clear();
    for (const json& entry : setting.value) {
        if (!entry.is_number()) wrong_type(setting, "a list of numbers [...]");
        out.push_back(entry.get<double>());
    }
}

// mdistiller writes its types in capitals: "KD", "NONE".
std::string lower(std::string text) {
    for (char& c : text)
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    return text;
}

template <class E, std::size_t N> void read_name(E& out, const EnumName<E> (&names)[N], const Setting& setting) {
    std::vector<std::string> known;
    for (const EnumName<E>& name : names) known.emplace_back(name.name);
    std::string text;
    read(text, setting);
    for (const EnumName<E>& name : names) {
        if (lower(text) != name.name) continue;
        out = name.value;
        return;
    }
    fail(setting,
         fmt::format("unknown {}; did you mean \"{}\"? Allowed: {}", in_quotes(text), nearest(text, known), fmt::join(known, ", ")));
}
void read(Method& out, const Setting& setting) { read_name(out, method_names, setting); }
void read(Divergence& out, const Setting& setting) { read_name(out, divergence_names, setting); }

template <class T> void check(const T& value, const Rule<T>& rule, const Setting& setting) {
    if (!rule.holds(value)) fail(setting, fmt::format("impossible value {}; allowed: {}", setting.value.dump(), rule.allowed));
}
void check(const std::string& value, const Rule<std::string>& rule, const Setting& setting) {
    if (rule.holds(value)) return;
    const bool model = rule.holds == rules::model.holds || rule.holds == rules::model_or_none.holds;
    if (model) fail(setting, fmt::format("unknown model {}; did you mean \"{}\"?", in_quotes(value), nearest(value, network_names())));
    fail(setting, fmt::format("impossible value {}; allowed: {}", in_quotes(value), rule.allowed));
}

KeyKind kind_of(const std::string& name) {
    for (const std::string& key : config_keys()) {
        if (key == name) return KeyKind::key;
        if (key.starts_with(name) && key[name.size()] == '.') return KeyKind::section;
    }
    return KeyKind::unknown;
}

// A key's last part alone ("lr") means that key; else the nearest by edit distance, among sections too.
std::string suggestion(const std::string& name) {
    std::vector<std::string> candidates = config_keys();
    for (const std::string& key : candidates)
        if (key.substr(key.rfind('.') + 1) == lower(name)) return key;
    for (const std::string& key : config_keys())
        for (std::size_t dot = key.find('.'); dot != std::string::npos; dot = key.find('.', dot + 1))
            candidates.push_back(key.substr(0, dot));
    return nearest(name, candidates);
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
    throw UsageError(fmt::format("{}: unknown key {}; did you mean {}?", setting.place, in_quotes(setting.key),
                                 suggestion(setting.key)));
}

ordered_json json_of(Method value) { return method_names[static_cast<std::size_t>(value)].name; }
ordered_json json_of(Divergence value) { return divergence_names[static_cast<std::size_t>(value)].name; }
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
    for (const std::string& argument : overrides) take(setting_of_argument(argument));

    if (config.distiller.type != Method::none && config.distiller.teacher.empty())
        throw UsageError(fmt::format("{}: distiller.teacher: distiller.type {} needs a teacher; name its model",
                                     places.count("distiller.type") ? places["distiller.type"] : path,
                                     json_of(config.distiller.type).get<std::string>()));
    if (config.deterministic && config.nondeterministic)
        throw UsageError(fmt::format("{}: deterministic: excludes nondeterministic; set one of them to false",
                                     places.count("deterministic") ? places["deterministic"] : path));
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

bool determines_numbers(const Config& config, const std::string& key) {
    const Method method = config.distiller.type;
    if (key.starts_with("solver.") || key == "distiller.type" || key == "distiller.student") return true;
    if (key == "dataset.type" || key == "dataset.train_images" || key == "dataset.test.batch_size") return true;
    if (key == "precision") return config.precision == "bf16";
    if (key == "deterministic") return config.deterministic;
    if (key.starts_with("distiller.teacher")) return method != Method::none;
    if (key.starts_with("kd.")) return method == Method::kd;
    if (key.starts_with("mlkd.")) return method == Method::mlkd || method == Method::mlkd_official;
    return false;
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

DistillationConfig distillation_config(const Config& config) {
    DistillationConfig out;
    out.method = config.distiller.type;
    if (out.method == Method::none) return out;
    if (out.method == Method::kd) {
        out.temperatures = {static_cast<float>(config.kd.temperature)};
        out.ce_weight = static_cast<float>(config.kd.loss.ce_weight);
        out.kd_weight = static_cast<float>(config.kd.loss.kd_weight);
        out.logit_standardization = config.kd.logit_standardization;
        return out;
    }
    const Config::Mlkd& mlkd = config.mlkd;
    out.temperatures.assign(mlkd.temperatures.begin(), mlkd.temperatures.end());
    out.ce_weight = static_cast<float>(mlkd.loss.ce_weight);
    out.kd_weight = static_cast<float>(mlkd.loss.kd_weight);
    out.instance_weight = static_cast<float>(mlkd.loss.instance_weight);
    out.batch_weight = static_cast<float>(mlkd.loss.batch_weight);
    out.class_weight = static_cast<float>(mlkd.loss.class_weight);
    out.divergence = mlkd.divergence;
    out.logit_standardization = mlkd.logit_standardization;
    return out;
}

double learning_rate(const Config::Solver& solver, int epoch) {
    const auto passed =
        std::count_if(solver.lr_decay_stages.begin(), solver.lr_decay_stages.end(), [&](int stage) { return epoch > stage; });
    return solver.lr * std::pow(solver.lr_decay_rate, static_cast<double>(passed));
}

std::string output_folder(const Config& config) {
    if (!config.output.empty()) return config.output;
    const Config::Experiment& experiment = config.experiment;
    return config.log.prefix + "/" + file_name_of(experiment.project) + "/" +
           file_name_of(experiment.name.empty() ? experiment.tag : experiment.name);
}

std::vector<std::string> config_keys() {
    std::vector<std::string> keys;
    const Config config;
    for_each_key(config, [&](const char* key, const auto&, const auto&) { keys.emplace_back(key); });
    return keys;
}

}  // namespace mlkd
