#include "engine/error.h"
#include "engine/kernels/launch.h"
#include "losses/part_sums.h"

namespace mlkd {
namespace {

constexpr int most_parts = 7;

struct SumParts {
    float* losses;  // (part_count + 1)
    PartSum parts[most_parts];
    int part_count;

    // One row.
    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        double total = 0;
        for (int p = 0; p < part_count; ++p) {
            const PartSum& part = parts[p];
            double sum = 0;
            for (std::int64_t i = team.rank(); i < part.count; i += team.size()) sum += static_cast<double>(part.values[i]);
            const double value = part.factor * (part.number == nullptr ? 1.0 : static_cast<double>(*part.number)) * team.sum(sum);
            total += value;
            if (team.rank() == 0) losses[p] = static_cast<float>(value);
        }
        if (team.rank() == 0) losses[part_count] = static_cast<float>(total);
    }
};

}  // namespace

void sum_parts(const LossCall& call, std::initializer_list<PartSum> parts) {
    MLKD_CHECK(parts.size() <= most_parts && static_cast<std::int64_t>(parts.size()) + 1 == call.losses.dim(0), "loss: parts do not fit");
    SumParts kernel{.losses = call.losses.as<float>(), .parts = {}, .part_count = 0};
    for (const PartSum& part : parts) kernel.parts[kernel.part_count++] = part;
    for_each_row(call.stream(), 1, kernel);
}

}  // namespace mlkd
