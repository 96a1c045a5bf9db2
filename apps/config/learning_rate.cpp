// The learning rate's course over the epochs.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "apps/config/config.h"

namespace mlkd {

double learning_rate(const Config::Solver& solver, int epoch) {
    const int warmup = solver.warmup_epochs;
    double rate = solver.lr;
    if (solver.schedule == "cosine") {
        const double over = std::max(epoch - 1 - warmup, 0);
        if (over > 0) rate *= 0.5 * (1 + std::cos(std::numbers::pi * over / (solver.epochs - warmup)));
    } else {
        const auto passed =
            std::count_if(solver.lr_decay_stages.begin(), solver.lr_decay_stages.end(), [&](int stage) { return epoch > stage; });
        rate *= std::pow(solver.lr_decay_rate, static_cast<double>(passed));
    }
    return epoch <= warmup ? rate * epoch / (warmup + 1.0) : rate;
}

}  // namespace mlkd
