#pragma once
// The configurations that every test of the losses runs through, and how results are compared.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/losses/problem.h"

namespace mlkd::test {

inline DistillationConfig config_of(Levels levels, std::vector<float> temperatures = {4, 3, 5, 2, 6},
                                    Divergence divergence = Divergence::frobenius, bool standardize = false) {
    DistillationConfig config;
    config.levels = levels;
    config.temperatures = std::move(temperatures);
    config.ce_weight = 0.1f;
    config.kd_weight = 0.9f;
    config.divergence = divergence;
    config.logit_standardization = standardize;
    return config;
}

inline std::vector<std::pair<std::string, DistillationConfig>> all_configs() {
    std::vector<std::pair<std::string, DistillationConfig>> configs{
        {"none", config_of(Levels::none)},
        {"kd", config_of(Levels::instance, {4})},
        {"kd at several T", config_of(Levels::instance, {4, 1, 2.5f})},
        {"kd standardized", config_of(Levels::instance, {2}, Divergence::frobenius, true)},
        {"mlkd", config_of(Levels::paper)},
        {"mlkd standardized", config_of(Levels::paper, {2, 3}, Divergence::frobenius, true)},
        {"mlkd kl", config_of(Levels::paper, {4, 2}, Divergence::kl)},
        {"mlkd kl standardized", config_of(Levels::paper, {3, 1}, Divergence::kl, true)},
        {"mlkd repeated T", config_of(Levels::paper, {2, 2, 5, 2})},
        {"official", config_of(Levels::released)},
        {"official of two T", config_of(Levels::released, {4, 3})},
        {"official standardized", config_of(Levels::released, {2, 3, 5, 2, 6}, Divergence::frobenius, true)},
        {"official kl", config_of(Levels::released, {4, 3, 5, 2}, Divergence::kl)},
    };
    for (const auto& [name, levels] :
         {std::pair{"none, smoothed", Levels::none}, {"mlkd, smoothed", Levels::paper}, {"official, smoothed", Levels::released}}) {
        DistillationConfig smoothed = config_of(levels, {4, 2});
        smoothed.label_smoothing = 0.1f;
        configs.emplace_back(name, smoothed);
    }
    DistillationConfig weighted = config_of(Levels::paper);
    weighted.instance_weight = 0.5f;
    weighted.batch_weight = 3;
    weighted.class_weight = 0.25f;
    configs.emplace_back("mlkd, levels weighted", weighted);
    weighted.divergence = Divergence::kl;
    configs.emplace_back("mlkd kl, levels weighted", weighted);
    for (Divergence divergence : {Divergence::frobenius, Divergence::kl}) {
        DistillationConfig one = config_of(Levels::paper, {4, 2}, divergence);
        one.ce_weight = 0;
        one.instance_weight = 0;
        one.class_weight = 0;
        configs.emplace_back(divergence == Divergence::kl ? "batch level alone, kl" : "batch level alone", one);
        one.batch_weight = 0;
        one.class_weight = 1;
        configs.emplace_back(divergence == Divergence::kl ? "class level alone, kl" : "class level alone", one);
    }
    return configs;
}

struct Errors {
    double value = 0, gradient = 0;
};

// The largest relative error of the parts, and that of the gradient.
inline Errors errors_of(const Outcome& ours, const Outcome& expected) {
    Errors errors;
    for (std::size_t part = 0; part < loss_part_count; ++part)
        errors.value = std::max(errors.value, relative_error(ours.losses[part], expected.losses[part]));
    errors.gradient = relative_error(ours.gradient, expected.gradient);
    return errors;
}

}  // namespace mlkd::test
