#pragma once
// The masks of the released MLKD code. They multiply scalars, so only their means count:
//     m_b = mean over samples of [conf <= median(conf)],  conf = max softmax(teacher),
//     m_c = mean over classes of [q <= median(q)],        q    = Σ over samples of softmax(teacher),
// both at T = 1 on the weak view, the median being NumPy's: of an even number of values, the middle between the two.
// In double: in float32 confident rows and empty classes would tie where they do not.
#include "engine/arena.h"
#include "engine/kernels/launch.h"
#include "engine/tensor.h"
#include "losses/row_math.h"

namespace mlkd {

struct SoftmaxDouble {
    double* softmax;      // (B, C)
    double* confidence;   // (B)
    const float* logits;  // (B, C)
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const float* z = logits + row * classes;
        double* p = softmax + row * classes;
        const double maximum = row_maximum(team, z, classes).value;
        double sum = 0;
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) {
            p[k] = exp(static_cast<double>(z[k]) - maximum);
            sum += p[k];
        }
        sum = team.sum(sum);
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) p[k] /= sum;
        if (team.rank() == 0) confidence[row] = 1.0 / sum;
    }
};

// A row is a block of columns, which are summed over the samples in order. A member has a few at once, in registers.
struct ColumnSums {
    static constexpr std::int64_t block = 128;
    static constexpr int tile = 4;
    double* sums;           // (C)
    const double* softmax;  // (B, C)
    std::int64_t samples;
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t first = row * block, end = first + block < classes ? first + block : classes;
        for (std::int64_t c = first + tile * team.rank(); c < end; c += tile * team.size()) {
            if (c + tile <= end)
                sum_columns<tile>(c);
            else
                for (std::int64_t last = c; last < end; ++last) sum_columns<1>(last);
        }
    }

private:
    template <int count>
    MLKD_HD void sum_columns(std::int64_t c) const {
        double sum[count] = {};
        for (std::int64_t b = 0; b < samples; ++b)
            for (int q = 0; q < count; ++q) sum[q] += softmax[b * classes + c + q];
        for (int q = 0; q < count; ++q) sums[c + q] = sum[q];
    }
};

// The share of values that are at most their median. Row 0: of `confidence`; row 1: of `class_sums`. The values are
// not negative, so that their bits are ordered as they are: the lower middle one is found bit by bit.
struct MedianShare {
    float* shares;             // (2)
    const double* confidence;  // (B)
    const double* class_sums;  // (C)
    std::int64_t samples;
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const double* values = row == 0 ? confidence : class_sums;
        const std::int64_t n = row == 0 ? samples : classes;
        const std::int64_t lower_middle = (n - 1) / 2;
        std::uint64_t lower_bits = 0;
        for (int bit = 62; bit >= 0; --bit) {  // the largest number with at most lower_middle values below it
            const std::uint64_t trial = lower_bits | (std::uint64_t{1} << bit);
            if (count(team, values, n, double_of(trial), false) <= lower_middle) lower_bits = trial;
        }
        const double lower = double_of(lower_bits);
        double upper = lower;
        if (n % 2 == 0 && count(team, values, n, lower, true) <= lower_middle + 1) upper = smallest_above(team, values, n, lower);
        const double median = upper - (upper - lower) * 0.5;  // as NumPy interpolates
        const double share = static_cast<double>(count(team, values, n, median, true)) / static_cast<double>(n);
        if (team.rank() == 0) shares[row] = static_cast<float>(share);
    }

private:
    MLKD_HD static double double_of(std::uint64_t bits) {
        double value;
        std::memcpy(&value, &bits, sizeof(value));
        return value;
    }
    // How many values are below `limit`, or at most `limit`.
    template <class Team>
    MLKD_HD static std::int64_t count(const Team& team, const double* values, std::int64_t n, double limit, bool inclusive) {
        int found = 0;
#pragma omp simd reduction(+ : found)
        for (std::int64_t i = team.rank(); i < n; i += team.size())
            found += static_cast<int>(values[i] < limit) + static_cast<int>(inclusive & (values[i] == limit));
        return team.sum(found);
    }
    template <class Team>
    MLKD_HD static double smallest_above(const Team& team, const double* values, std::int64_t n, double limit) {
        double negated = -INFINITY;
        for (std::int64_t i = team.rank(); i < n; i += team.size())
            if (values[i] > limit && -values[i] > negated) negated = -values[i];
        return -team.max(negated);
    }
};

// Both shares in one row, for matrices so small (B, C <= 1024 or so) that a value's rank is best found by counting.
struct MasksOfOneRow {
    float* shares;        // (2)
    double* softmax;      // (B, C), or nullptr for the team's scratch memory
    const float* logits;  // (B, C): the teacher's weak ones
    std::int64_t samples;
    std::int64_t classes;

    static std::size_t list_bytes(std::int64_t samples, std::int64_t classes) {
        return static_cast<std::size_t>(samples + classes + middles) * sizeof(double);
    }

    // Scratch memory: list_bytes, and the softmax where it is to be there.
    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t) const {
        double* confidence = team.template scratch<double>();  // (B)
        double* class_sums = confidence + samples;             // (C)
        double* middle = class_sums + classes;                 // lower and upper middle value of both lists
        double* p = softmax == nullptr ? middle + middles : softmax;
        const auto part = team.part();
        for (std::int64_t b = team.part_index(); b < samples; b += team.part_count())
            SoftmaxDouble{p, confidence, logits, classes}(part, b);
        for (int m = team.rank(); m < middles; m += team.size()) middle[m] = NAN;  // stays where a value is NaN
        team.sync();
        for (std::int64_t c = team.rank(); c < classes; c += team.size()) {
            double sum = 0;
            for (std::int64_t b = 0; b < samples; ++b) sum += p[b * classes + c];
            class_sums[c] = sum;
        }
        team.sync();
        find_middle(team, middle, confidence, samples);
        find_middle(team, middle + 2, class_sums, classes);
        team.sync();
        const float share_b = share_up_to_median(team, middle, confidence, samples);
        const float share_c = share_up_to_median(team, middle + 2, class_sums, classes);
        if (team.rank() == 0) {
            shares[0] = share_b;
            shares[1] = share_c;
        }
    }

private:
    static constexpr int middles = 4;

    // Each value counts how many come before it; of equal ones the first in the list does.
    template <class Team>
    MLKD_HD static void find_middle(const Team& team, double* middle, const double* values, std::int64_t n) {
        for (std::int64_t i = team.rank(); i < n; i += team.size()) {
            const double value = values[i];
            int before = 0;
            for (std::int64_t k = 0; k < n; ++k) before += static_cast<int>((values[k] < value) | ((values[k] == value) & (k < i)));
            if (before == (n - 1) / 2) middle[0] = value;
            if (before == n / 2) middle[1] = value;
        }
    }
    template <class Team>
    MLKD_HD static float share_up_to_median(const Team& team, const double* middle, const double* values, std::int64_t n) {
        const double median = middle[1] - (middle[1] - middle[0]) * 0.5;  // as NumPy interpolates
        int found = 0;
        for (std::int64_t i = team.rank(); i < n; i += team.size()) found += static_cast<int>(values[i] <= median);
        return static_cast<float>(static_cast<double>(team.sum(found)) / static_cast<double>(n));
    }
};

// Writes shares (2) f32 = m_b, m_c of the teacher's weak logits (B, C).
void official_masks(const Stream& stream, StepArena& arena, const Tensor& shares, const Tensor& teacher_weak);

}  // namespace mlkd
