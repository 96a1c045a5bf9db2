#pragma once
// From the chunks' numbers to the channels': in double, in fixed order, in the launch that makes the chunks'.
//
// Chunks come in groups. The chunk of a group that arrives last (engine/kernels/arrival.h) combines those of its group, and of the groups
// the last one combines all: which one that is changes nothing in what it computes. Two stages, as one team alone would read the
// chunks of a large tensor for longer than a launch takes.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/kernels/arrival.h"
#include "layers/ops/batch_norm_kernels.h"
#include "layers/ops/batch_norm_pixels.h"

namespace mlkd {

// Groups of neighbouring chunks of a view; the last one of a view may be smaller.
struct ChunkGroups {
    std::int64_t size;  // chunks of a group
    int per_view, views;

    ChunkGroups(const Pixels& pixels, int view_count) : views(view_count) {
        constexpr std::int64_t smallest = 16;
        const std::int64_t most = batch_norm_most_groups / views;
        size = std::max(smallest, (pixels.chunks + most - 1) / most);
        per_view = static_cast<int>((pixels.chunks + size - 1) / size);
    }
    MLKD_HD int count() const { return views * per_view; }
    MLKD_HD int chunks_of(const Pixels& pixels, int group) const {
        const std::int64_t left = pixels.chunks - group * size;
        return static_cast<int>(left < size ? left : size);
    }
};

struct TwoNumbers {
    double one, two;
};

// How the sums of two quantities over several parts combine.
struct CombinedSums {
    double one = 0.0, two = 0.0;

    MLKD_HD void add(double, double sum, double other_sum) {
        one += sum;
        two += other_sum;
    }
    MLKD_HD TwoNumbers result() const { return {one, two}; }
};

// How means and sums of squared deviations of several parts combine: around the first part's mean, so that a large mean costs no
// digits (Chan, Golub, LeVeque, 1983).
struct CombinedMoments {
    double origin = 0.0, count = 0.0, shifted = 0.0, squares = 0.0;

    MLKD_HD void add(double n, double mean, double deviations) {
        if (count == 0.0) origin = mean;
        const double d = mean - origin;
        count += n;
        shifted += n * d;
        squares += deviations + n * d * d;
    }
    MLKD_HD TwoNumbers result() const { return {origin + shifted / count, squares - shifted * shifted / count}; }
};

// Channel c of `count` parts (2, C) that lie one behind the other, each of `whole` pixels, but the last one of `last`.
template <class Combined, class T>
MLKD_HD TwoNumbers combine(const T* parts, int count, int channels, int c, std::int64_t whole, std::int64_t last) {
    constexpr int together = 8;  // loads under way at once
    const auto of_whole = static_cast<double>(whole), of_last = static_cast<double>(last);
    Combined all;
    int i = 0;
    MLKD_ROLLED
    for (; i + together <= count; i += together) {
        T one[together], two[together];
        for (int q = 0; q < together; ++q) {
            one[q] = parts[2 * (i + q) * channels + c];
            two[q] = parts[(2 * (i + q) + 1) * channels + c];
        }
        for (int q = 0; q < together; ++q)
            all.add(i + q == count - 1 ? of_last : of_whole, static_cast<double>(one[q]), static_cast<double>(two[q]));
    }
    MLKD_ROLLED
    for (; i < count; ++i)
        all.add(i == count - 1 ? of_last : of_whole, static_cast<double>(parts[2 * i * channels + c]),
                static_cast<double>(parts[(2 * i + 1) * channels + c]));
    return all.result();
}

// Row: a chunk. `pass` writes the chunk's two numbers a channel to `partials`. finish.of_view(view, c, numbers) takes those of a whole
// view and returns two to keep, finish.of_channel(c, kept) follows with what was kept of the views.
template <class Pass, class Combined, class Finish> struct MergingPass {
    using T = typename Pass::T;
    Pass pass;
    Finish finish;
    ChunkGroups groups;
    double* group_sums;  // (groups, 2, C)
    int* arrivals;       // (groups + 1): zeros before the launch and after it

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const Pixels& pixels = pass.pixels;
        pass(team, row);
        const int C = pixels.channels, view = static_cast<int>(row / pixels.chunks);
        const int in_view = static_cast<int>(row % pixels.chunks / groups.size), group = view * groups.per_view + in_view;
        const int chunks = groups.chunks_of(pixels, in_view);
        if (!arrive(team, arrivals + group, chunks)) return;

        const std::int64_t first_chunk = in_view * groups.size, last_chunk = pixels.count_of_chunk(first_chunk + chunks - 1);
        const T* const parts = pass.partials + (view * pixels.chunks + first_chunk) * 2 * C;
        double* const sums = group_sums + static_cast<std::int64_t>(group) * 2 * C;
        MLKD_ROLLED
        for (int c = team.rank(); c < C; c += team.size()) {
            const TwoNumbers numbers = combine<Combined>(parts, chunks, C, c, pixels.chunk, last_chunk);
            sums[c] = numbers.one;
            sums[C + c] = numbers.two;
        }
        if (!arrive(team, arrivals + groups.count(), groups.count())) return;

        const std::int64_t whole_group = groups.size * pixels.chunk, last_group = pixels.per_view - (groups.per_view - 1) * whole_group;
        TwoNumbers* const kept = team.template scratch<TwoNumbers>();  // (views, C)
        MLKD_ROLLED
        for (int i = team.rank(); i < groups.views * C; i += team.size()) {
            const double* const of_view = group_sums + static_cast<std::int64_t>(i / C) * groups.per_view * 2 * C;
            kept[i] = finish.of_view(i / C, i % C, combine<Combined>(of_view, groups.per_view, C, i % C, whole_group, last_group));
        }
        team.sync();
        MLKD_ROLLED
        for (int c = team.rank(); c < C; c += team.size()) finish.of_channel(c, kept);
        MLKD_ROLLED
        for (int i = team.rank(); i <= groups.count(); i += team.size()) arrivals[i] = 0;
    }
};

// Means and variances of each view, and the running statistics view by view.
template <class T> struct FinishStatistics {
    T *mean, *inverse_deviation;         // (views, C)
    T *running_mean, *running_variance;  // (C)
    std::int64_t per_view;               // pixels
    int channels, views, updates_per_view;

    MLKD_HD TwoNumbers of_view(int view, int c, const TwoNumbers& moments) const {
        const auto total = static_cast<double>(per_view);
        const double variance = (moments.two < 0.0 ? 0.0 : moments.two) / total;  // below 0: rounding; a NaN passes on
        mean[view * channels + c] = static_cast<T>(moments.one);
        inverse_deviation[view * channels + c] = static_cast<T>(1.0 / std::sqrt(variance + static_cast<double>(batch_norm_epsilon<T>)));
        return {moments.one, total > 1.0 ? variance * total / (total - 1.0) : variance};
    }
    MLKD_HD void of_channel(int c, const TwoNumbers* kept) const {
        T running_m = running_mean[c], running_v = running_variance[c];
        MLKD_ROLLED
        for (int view = 0; view < views; ++view)
            for (int update = 0; update < updates_per_view; ++update) {
                running_m += batch_norm_momentum<T> * (static_cast<T>(kept[view * channels + c].one) - running_m);
                running_v += batch_norm_momentum<T> * (static_cast<T>(kept[view * channels + c].two) - running_v);
            }
        running_mean[c] = running_m;
        running_variance[c] = running_v;
    }
};

// The means over each view, and the gradients of gamma and beta over all of them.
template <class T> struct FinishBackwardSums {
    T *dL_dgamma, *dL_dbeta;    // (C)
    T *mean_dz, *mean_dz_xhat;  // (views, C)
    std::int64_t per_view;      // pixels
    int channels, views;

    MLKD_HD TwoNumbers of_view(int view, int c, const TwoNumbers& sums) const {
        mean_dz[view * channels + c] = static_cast<T>(sums.one / static_cast<double>(per_view));
        mean_dz_xhat[view * channels + c] = static_cast<T>(sums.two / static_cast<double>(per_view));
        return sums;
    }
    MLKD_HD void of_channel(int c, const TwoNumbers* kept) const {
        TwoNumbers sums{0.0, 0.0};
        MLKD_ROLLED
        for (int view = 0; view < views; ++view) {
            sums.one += kept[view * channels + c].one;
            sums.two += kept[view * channels + c].two;
        }
        dL_dbeta[c] = static_cast<T>(sums.one);
        dL_dgamma[c] = static_cast<T>(sums.two);
    }
};

}  // namespace mlkd
