#include "apps/config/idle_settings.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/error.h"

namespace mlkd {
namespace {

// Whether the teacher has a part in the loss. Products as the loss forms them: two small weights may make 0.
bool teaches(const DistillationConfig& losses) {
    if (losses.method == Method::kd) return losses.kd_weight > 0;
    return losses.kd_weight * std::max({losses.instance_weight, losses.batch_weight, losses.class_weight}) > 0;
}

}  // namespace

void refuse_idle(const Config& config) {
    const Config::Solver& solver = config.solver;
    for (int epoch = 1; epoch <= solver.epochs; ++epoch)
        if (static_cast<float>(learning_rate(solver, epoch)) == 0)
            throw UsageError(
                fmt::format("the rate, from solver.lr {}, becomes 0 in float32 from epoch {} on: nothing would be learnt; raise solver.lr{}, "
                            "or end with solver.epochs={}",
                            solver.lr, epoch, solver.schedule == "step" ? " or solver.lr_decay_rate" : "", epoch - 1));
    const DistillationConfig losses = distillation_config(config);
    if (losses.method == Method::none || losses.ce_weight > 0 || teaches(losses)) return;
    const char* const section = losses.method == Method::kd ? "kd" : "mlkd";
    throw UsageError(
        fmt::format("{0}.loss.ce_weight is 0, and {0}.loss.kd_weight or what it multiplies is 0, too: nothing would be learnt", section));
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
        lines.push_back(fmt::format("solver.warmup_epochs {}: there are {} epochs, all below solver.lr", solver.warmup_epochs, solver.epochs));
    if (config.log.save_checkpoint_freq > solver.epochs)
        lines.push_back(
            fmt::format("log.save_checkpoint_freq {}: no effect, there are {} epochs", config.log.save_checkpoint_freq, solver.epochs));
    const DistillationConfig losses = distillation_config(config);
    if (losses.method != Method::none && !teaches(losses))
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
