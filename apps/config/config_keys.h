#pragma once
// The one table of configuration keys: for_each_key(config, visit) calls visit(key, value, rule) for each. Reading,
// writing, listing and hashing all walk through it. A rule says in words which values are allowed and tests one.
#include <algorithm>
#include <cmath>
#include <set>
#include <type_traits>
#include <utility>

#include "apps/config/config.h"
#include "apps/config/lower_case.h"
#include "engine/settings/settings.h"
#include "layers/network.h"

namespace mlkd {

namespace rules {

inline bool is_one_of(const std::string& value, std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), value) != names.end();
}
inline bool known_model(const std::string& name) {
    return std::find(network_names().begin(), network_names().end(), name) != network_names().end();
}

inline constexpr Rule<std::string> any_text{"", [](const std::string&) { return true; }};
inline constexpr Rule<std::string> path{"a path without zero bytes", [](const std::string& v) { return v.find('\0') == std::string::npos; }};
inline constexpr Rule<std::string> folder{"a folder's path, . for the current one",
                                          [](const std::string& v) { return !v.empty() && path.holds(v); }};
inline constexpr Rule<std::string> model{"a model's name", known_model};
inline constexpr Rule<std::string> model_or_none{"a model's name, or empty", [](const std::string& v) { return v.empty() || known_model(v); }};
inline constexpr Rule<std::string> dataset{
    "auto, cifar100, cifar10, mnist, fashion-mnist, idx or synthetic", [](const std::string& v) {
        return is_one_of(v, {"auto", "cifar100", "cifar10", "mnist", "fashion-mnist", "idx", "synthetic"});
    }};
inline const NameRule schedule{[] {
                                   return std::vector<std::string>{"step", "cosine"};
                               },
                               [](const std::string& text) {
                                   const std::string name = lower_case(text);
                                   return is_one_of(name, {"step", "cosine"}) ? name : std::string();
                               }};
// mdistiller's names are ours. Other capitals are refused: its successors' MLKD is not our mlkd.
inline const NameRule method{[] { return all_methods().names(); },
                             [](const std::string& text) {
                                 for (const auto& known : all_methods().parts)
                                     if (text == known->name() || text == known->other_name()) return std::string(known->name());
                                 return std::string();
                             }};
inline const NameRule optimizer{[] { return all_optimizers().names(); },
                                [](const std::string& text) {
                                    for (const std::string& name : all_optimizers().names())
                                        if (lower_case(name) == lower_case(text)) return name;
                                    return std::string();
                                }};
inline constexpr Rule<std::string> device{"auto, cpu, cuda or cuda:N", [](const std::string& v) {
                                              const bool numbered = v.starts_with("cuda:") && v.size() > 5 && v.size() < 8 &&
                                                                    v.find_first_not_of("0123456789", 5) == std::string::npos;
                                              return numbered || is_one_of(v, {"auto", "cpu", "cuda"});
                                          }};
inline constexpr Rule<std::string> precision{"auto, fp32, tf32 or bf16", [](const std::string& v) {
                                                 return is_one_of(v, {"auto", "fp32", "tf32", "bf16"});
                                             }};
inline constexpr Rule<std::string> products{"fp32 or tf32", [](const std::string& v) { return is_one_of(v, {"fp32", "tf32"}); }};
inline constexpr Rule<std::uint64_t> seed{"0 to 2^64 - 1", [](const std::uint64_t&) { return true; }};
inline constexpr Rule<int> batch{"1 to 65536", [](const int& v) { return v >= 1 && v <= 65536; }};
inline constexpr Rule<int> epochs{"1 to 1000000", [](const int& v) { return v >= 1 && v <= 1'000'000; }};
inline constexpr Rule<int> images{"0 (all) or more", [](const int& v) { return v >= 0; }};
inline constexpr Rule<int> workers{"1 to 256", [](const int& v) { return v >= 1 && v <= 256; }};
inline constexpr Rule<int> threads{"0 (all cores) to 1024", [](const int& v) { return v >= 0 && v <= 1024; }};
inline constexpr Rule<int> warmup{"0 (none) or more", [](const int& v) { return v >= 0; }};
inline constexpr Rule<int> frequency{"0 (never) or more", [](const int& v) { return v >= 0; }};
inline constexpr Rule<double> decay_rate{"greater than 0, at most 1", [](const double& v) { return v > 0 && v <= 1; }};
inline constexpr Rule<std::vector<int>> stages{
    "one epoch or more, from 1 upwards, each later than the one before (for a constant rate set solver.lr_decay_rate to 1)",
    [](const std::vector<int>& v) {
        return !v.empty() && v.front() >= 1 && std::adjacent_find(v.begin(), v.end(), std::greater_equal<>()) == v.end();
    }};

}  // namespace rules

// The settings of all parts of a choice: visit(key, value, rule). Parts may share a key. It is one key when the configuration is looked at
// (const), and set in each of them.
template <class ConfigOrConst, class P, class Section, class Visitor>
void for_each_part_key(const Choice<P>& choice, const Section& section, Visitor& visit) {
    std::set<std::string> seen;
    for (const auto& part : choice.parts)
        for_each_setting(*part, [&](const char* name, auto& value, const auto& rule, const char*) {
            const std::string key = std::string(section(*part)) + "." + name;
            if (seen.insert(key).second || !std::is_const_v<ConfigOrConst>) visit(key.c_str(), value, rule);
        });
}

template <class ConfigOrConst, class Visitor> void for_each_key(ConfigOrConst& c, Visitor&& visit) {
    visit("experiment.project", c.experiment.project, rules::any_text);
    visit("experiment.name", c.experiment.name, rules::any_text);
    visit("experiment.tag", c.experiment.tag, rules::any_text);
    visit("dataset.type", c.dataset.type, rules::dataset);
    visit("dataset.path", c.dataset.path, rules::path);
    visit("dataset.train_images", c.dataset.train_images, rules::images);
    visit("dataset.num_workers", c.dataset.num_workers, rules::workers);
    visit("dataset.test.batch_size", c.dataset.test.batch_size, rules::batch);
    visit("dataset.test.images", c.dataset.test.images, rules::images);
    visit("distiller.type", c.distiller.method.chosen, rules::method);
    visit("distiller.teacher", c.distiller.teacher, rules::model_or_none);
    visit("distiller.student", c.distiller.student, rules::model);
    visit("distiller.teacher_checkpoint", c.distiller.teacher_checkpoint, rules::path);
    visit("solver.type", c.solver.optimizer.chosen, rules::optimizer);
    visit("solver.batch_size", c.solver.batch_size, rules::batch);
    visit("solver.epochs", c.solver.epochs, rules::epochs);
    visit("solver.lr", c.solver.lr, rules::positive);
    visit("solver.lr_decay_stages", c.solver.lr_decay_stages, rules::stages);
    visit("solver.lr_decay_rate", c.solver.lr_decay_rate, rules::decay_rate);
    visit("solver.schedule", c.solver.schedule, rules::schedule);
    visit("solver.warmup_epochs", c.solver.warmup_epochs, rules::warmup);
    visit("solver.label_smoothing", c.solver.label_smoothing, rules::below_one);
    for_each_part_key<ConfigOrConst>(
        c.solver.optimizer, [](const Optimizer&) { return "solver"; }, visit);
    visit("solver.seed", c.solver.seed, rules::seed);
    for_each_part_key<ConfigOrConst>(
        c.distiller.method, [](const Method& method) { return method.section(); }, visit);
    visit("log.prefix", c.log.prefix, rules::folder);
    visit("log.save_checkpoint_freq", c.log.save_checkpoint_freq, rules::frequency);
    visit("device", c.device, rules::device);
    visit("threads", c.threads, rules::threads);
    visit("precision", c.precision, rules::precision);
    visit("products", c.products, rules::products);
    visit("graph", c.graph, rules::flag);
    visit("nondeterministic", c.nondeterministic, rules::flag);
    visit("deterministic", c.deterministic, rules::flag);
    visit("output", c.output, rules::path);
}

}  // namespace mlkd
