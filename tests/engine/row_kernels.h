#pragma once
// Kernels that use everything a Team offers, for the tests of teams and launchers.
#include <cstdint>

#include "engine/kernels/device_code.h"

namespace mlkd::test {

// y[row, i] = x[row, i] / sum over the row, times the row's largest value: sum(), max(), all members reading back what
// the reductions gave them.
struct ScaleByRow {
    float* y;        // (rows, n)
    const float* x;  // (rows, n)
    std::int64_t n;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        double sum = 0;
        float largest = x[row * n];
        for (std::int64_t i = team.rank(); i < n; i += team.size()) {
            sum += x[row * n + i];
            largest = x[row * n + i] > largest ? x[row * n + i] : largest;
        }
        sum = team.sum(sum);
        largest = team.max(largest);
        for (std::int64_t i = team.rank(); i < n; i += team.size()) y[row * n + i] = static_cast<float>(x[row * n + i] / sum) * largest;
    }
};

// y[row] = x[row] back to front, in place through the team's scratch memory: every member reads what others wrote.
struct ReverseRow {
    float* y;  // (rows, n)
    std::int64_t n;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        float* copy = team.template scratch<float>();
        for (std::int64_t i = team.rank(); i < n; i += team.size()) copy[i] = y[row * n + i];
        team.sync();
        for (std::int64_t i = team.rank(); i < n; i += team.size()) y[row * n + i] = copy[n - 1 - i];
    }
};

}  // namespace mlkd::test
