#pragma once
// Top-1 and top-5 counts and the summed cross entropy of a batch, added up on the device; on a GPU in one launch, and with it what
// else a step adds up, its losses.
#include "engine/arena.h"
#include "engine/kernels/launch.h"
#include "engine/tensor.h"
#include "losses/meters/meter.h"
#include "losses/row_math.h"

namespace mlkd {

// Places in the vector of counters.
struct AccuracyCounter {
    enum Index { top1, top5, cross_entropy };
};
constexpr int accuracy_counter_count = 3;

struct RowAccuracy {
    float* row_loss;             // (N)
    std::int32_t* row_rank;      // (N): logits before the label's own; -1 where a logit is NaN
    const float* logits;         // (N, C)
    const std::int32_t* target;  // (N)
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const float* x = logits + row * classes;
        const std::int64_t y = target[row];
        const float own = x[y];
        const RowMaximum<float> maximum = row_maximum(team, x, classes);
        const float tail = softmax_tail(team, x, classes, maximum);
        int before = 0, not_a_number = 0;
#pragma omp simd reduction(+ : before, not_a_number)
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) {
            before += static_cast<int>((x[k] > own) | ((x[k] == own) & (k < y)));
            not_a_number += static_cast<int>(x[k] != x[k]);
        }
        before = team.sum(before);
        not_a_number = team.sum(not_a_number);
        if (team.rank() == 0) {
            row_loss[row] = cross_entropy_of(x, y, maximum, tail);
            row_rank[row] = not_a_number > 0 ? -1 : before;
        }
    }
};

// Adds the rows' results to the counters, in order. One row.
struct AddAccuracy {
    double* counters;              // (3)
    const float* row_loss;         // (N)
    const std::int32_t* row_rank;  // (N)
    std::int64_t rows;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        double top1 = 0, top5 = 0, loss = 0;
        for (std::int64_t i = team.rank(); i < rows; i += team.size()) {
            top1 += row_rank[i] == 0 ? 1 : 0;
            top5 += row_rank[i] >= 0 && row_rank[i] < 5 ? 1 : 0;
            loss += static_cast<double>(row_loss[i]);
        }
        top1 = team.sum(top1);
        top5 = team.sum(top5);
        loss = team.sum(loss);
        if (team.rank() == 0) {
            counters[AccuracyCounter::top1] += top1;
            counters[AccuracyCounter::top5] += top5;
            counters[AccuracyCounter::cross_entropy] += loss;
        }
    }
};

// What follows once all rows are done. One row.
struct AddBatch {
    AddAccuracy accuracy;
    AddLosses losses;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        accuracy(team, 0);
        if (team.rank() == 0) losses();
    }
};

// All of it by one team, whose parts take the rows in turn. One row.
struct AccuracyOfBatch {
    RowAccuracy rows;
    AddBatch sums;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        const auto part = team.part();
        for (std::int64_t row = team.part_index(); row < sums.accuracy.rows; row += team.part_count()) rows(part, row);
        team.sync();
        sums(team, 0);
    }
};

// counters (3) f64 += counts of rows whose label is among the first one and five logits, and Σ -log softmax(logits)[y].
// Equal logits rank by class. A row with a NaN is never correct. logits (N, C) f32, target (N) i32, each in [0, C).
// The workspace comes from the arena, inside a Scope; nothing is read back. Zero the counters first (fill_zero).
// losses: what a meter is to add in the same launch, see LossMeter::adding().
void accumulate_accuracy(const Stream& stream, StepArena& arena, const Tensor& counters, const Tensor& logits, const Tensor& target,
                         const AddLosses& losses = {});

}  // namespace mlkd
