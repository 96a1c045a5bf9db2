// The losses, forward and backward, on random logits.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "apps/bench/bench_case.h"
#include "losses/methods.h"

namespace mlkd {
namespace {

constexpr const char* kl = "mlkd_kl";

// A label and a method with its settings.
struct NamedLoss {
    std::string name;
    std::shared_ptr<const Method> method;
};

// All methods with a teacher, and mlkd with its other divergence.
std::vector<NamedLoss> losses() {
    std::vector<NamedLoss> all;
    for (const auto& method : all_methods().parts)
        if (method->has_teacher()) all.push_back({method->name(), method->clone()});
    all.push_back({kl, make_method("mlkd", {{"divergence", "kl"}})});
    return all;
}

struct LossSize {
    std::int64_t samples, classes;
};
constexpr std::array sizes{LossSize{64, 100},    LossSize{256, 100},   LossSize{512, 100},  LossSize{64, 1000},    LossSize{256, 1000},
                           LossSize{512, 1000},  LossSize{4096, 1000}, LossSize{64, 10000}, LossSize{64, 100000}, LossSize{64, 200000}};

// The divergence between correlation matrices of C × C has C² B multiplications and C² logarithms a term: minutes.
bool takes_minutes(const NamedLoss& loss, const LossSize& size) { return loss.name == kl && std::max(size.samples, size.classes) > 1000; }

BenchWork prepare(Backend& backend, const NamedLoss& loss, const LossSize& size) {
    struct State {
        State(Backend& device, const Method& method) : arena(device, 1 << 20), tensors(device), function(device, method) {}
        StepArena arena;
        BenchTensors tensors;
        Loss function;
    };
    auto state = std::make_shared<State>(backend, *loss.method);
    const Shape shape{loss.method->views() * size.samples, size.classes};
    const Tensor student = state->tensors.uniform(shape, -4, 4), teacher = state->tensors.uniform(shape, -8, 8);
    const Tensor target = state->tensors.labels(size.samples, size.classes);
    const Tensor parts = state->tensors.zeros({static_cast<std::int64_t>(state->function.parts().size())}),
                 dL_dlogits = state->tensors.zeros(shape);
    const auto run = [=] {
        state->arena.begin("loss");
        state->function.forward_backward(state->arena, parts, dL_dlogits, student, teacher, target);
        state->arena.end();
    };
    return {.run = run,
            .flop = loss.method->product_flop(size.samples, size.classes),
            .bytes = 3.0 * static_cast<double>(student.bytes()),
            .workspace_bytes = [state] { return static_cast<double>(state->arena.reserved_bytes()); }};
}

}  // namespace

void add_loss_cases(std::vector<BenchCase>& cases) {
    for (const NamedLoss& loss : losses())
        for (const LossSize& size : sizes)
            if (!takes_minutes(loss, size))
                cases.push_back({fmt::format("loss/{}/{}x{}", loss.name, size.samples, size.classes),
                                 [loss, size](Backend& backend) { return prepare(backend, loss, size); }});
}

}  // namespace mlkd
