// The losses, forward and backward, on random logits.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "apps/bench/bench_case.h"
#include "losses/distillation.h"
#include "losses/mlkd/terms.h"

namespace mlkd {
namespace {

struct NamedLoss {
    const char* name;
    Method method;
    Divergence divergence;
};
constexpr std::array losses{NamedLoss{"kd", Method::kd, Divergence::frobenius}, NamedLoss{"mlkd", Method::mlkd, Divergence::frobenius},
                            NamedLoss{"mlkd_official", Method::mlkd_official, Divergence::frobenius},
                            NamedLoss{"mlkd_kl", Method::mlkd, Divergence::kl}};

struct LossSize {
    std::int64_t samples, classes;
};
constexpr std::array sizes{LossSize{64, 100},    LossSize{256, 100},   LossSize{512, 100},  LossSize{64, 1000},    LossSize{256, 1000},
                           LossSize{512, 1000},  LossSize{4096, 1000}, LossSize{64, 10000}, LossSize{64, 100000}, LossSize{64, 200000}};

// The divergence between correlation matrices of C × C has C² B multiplications and C² logarithms a term: minutes.
bool takes_minutes(const NamedLoss& loss, const LossSize& size) {
    return loss.divergence == Divergence::kl && std::max(size.samples, size.classes) > 1000;
}

DistillationConfig config_of(const NamedLoss& loss) {
    DistillationConfig config;
    config.method = loss.method;
    if (loss.method != Method::kd) config.temperatures = {4, 3, 5, 2, 6};
    config.ce_weight = 0.1f;
    config.kd_weight = 0.9f;
    config.divergence = loss.divergence;
    return config;
}

// The five matrix products of each term with squared distances, see gram_correlation.h.
double flop_of(const DistillationConfig& config, const LossSize& size) {
    if (config.divergence == Divergence::kl) return 0;
    const auto terms = terms_of(config);
    const auto correlating = std::count_if(terms.begin(), terms.end(), [](const Term& term) { return term.correlates(); });
    const auto small = static_cast<double>(std::min(size.samples, size.classes));
    return 10.0 * static_cast<double>(correlating) * small * small * static_cast<double>(std::max(size.samples, size.classes));
}

BenchWork prepare(Backend& backend, const NamedLoss& loss, const LossSize& size) {
    struct State {
        State(Backend& device, const DistillationConfig& config) : arena(device, 1 << 20), tensors(device), function(device, config) {}
        StepArena arena;
        BenchTensors tensors;
        DistillationLoss function;
    };
    const DistillationConfig config = config_of(loss);
    auto state = std::make_shared<State>(backend, config);
    const Shape shape{view_count(loss.method) * size.samples, size.classes};
    const Tensor student = state->tensors.uniform(shape, -4, 4), teacher = state->tensors.uniform(shape, -8, 8);
    const Tensor target = state->tensors.labels(size.samples, size.classes);
    const Tensor parts = state->tensors.zeros({loss_part_count}), dL_dlogits = state->tensors.zeros(shape);
    const auto run = [=] {
        state->arena.begin("loss");
        state->function.forward_backward(state->arena, parts, dL_dlogits, student, teacher, target);
        state->arena.end();
    };
    return {.run = run,
            .flop = flop_of(config, size),
            .bytes = 3.0 * static_cast<double>(student.bytes()),
            .workspace_bytes = [state] { return static_cast<double>(state->arena.reserved_bytes()); }};
}

}  // namespace

void add_loss_cases(std::vector<BenchCase>& cases) {
    for (const NamedLoss& loss : losses)
        for (const LossSize& size : sizes)
            if (!takes_minutes(loss, size))
                cases.push_back({fmt::format("loss/{}/{}x{}", loss.name, size.samples, size.classes),
                                 [loss, size](Backend& backend) { return prepare(backend, loss, size); }});
}

}  // namespace mlkd
