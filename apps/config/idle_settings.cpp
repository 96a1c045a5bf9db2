#include "apps/config/idle_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace mlkd {
void refuse_idle(const Config& config) {
    const Config::Solver& solver = config.solver;
    for (int epoch = 1; epoch <= solver.epochs; ++epoch)
        if (static_cast<float>(learning_rate(solver, epoch)) == 0)
            throw UsageError(fmt::format(
                "the rate, from solver.lr {}, becomes 0 in float32 from epoch {} on: nothing would be learnt; raise solver.lr{}, "
                "or end with solver.epochs={}",
                solver.lr, epoch, solver.schedule == "step" ? " or solver.lr_decay_rate" : "", epoch - 1));
    const Method& method = *config.distiller.method;
    if (!method.has_cross_entropy() && !method.teaches())
        throw UsageError(
            fmt::format("the weight of the cross entropy in {}., and those of the teacher's losses or what they multiply, are 0: "
                        "nothing would be learnt",
                        method.section()));
}

std::vector<std::string> idle_settings(const Config& config, const std::vector<std::string>& overrides) {
    std::vector<std::string> lines;
    const Config::Solver& solver = config.solver;
    std::vector<int> beyond;
    for (const int stage : solver.lr_decay_stages)
        if (stage >= solver.epochs) beyond.push_back(stage);
    if (!beyond.empty() && solver.lr_decay_rate < 1 && solver.schedule == "step")
        lines.push_back(fmt::format("solver.lr_decay_stages {}: no effect, there are {} epochs", fmt::join(beyond, ", "), solver.epochs));
    if (solver.warmup_epochs >= solver.epochs)
        lines.push_back(
            fmt::format("solver.warmup_epochs {}: there are {} epochs, all below solver.lr", solver.warmup_epochs, solver.epochs));
    if (config.log.save_checkpoint_freq > solver.epochs)
        lines.push_back(
            fmt::format("log.save_checkpoint_freq {}: no effect, there are {} epochs", config.log.save_checkpoint_freq, solver.epochs));
    if (const Method& method = *config.distiller.method; method.has_teacher() && !method.teaches())
        lines.emplace_back("the weights of the teacher's losses are 0: it has no effect");
    for (const std::string& override : overrides)
        if (const char* by = out_of_use_by(config, override.substr(0, override.find('='))); by != nullptr)
            lines.push_back(fmt::format("{}: no effect, {} is {}", override, by, settings_of(config)[by].get<std::string>()));
    return lines;
}

std::vector<std::string> idle_on_cpu(const Config& config) {
    std::vector<std::string> lines;
    if (config.products != "fp32")
        lines.push_back(fmt::format("products {}: no effect on a CPU, its matrix products are fp32", config.products));
    if (!config.graph) lines.emplace_back("graph false: no effect on a CPU, which has no graphs");
    if (config.nondeterministic) lines.emplace_back("nondeterministic true: no effect on a CPU");
    return lines;
}

}  // namespace mlkd
