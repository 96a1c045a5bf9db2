#pragma once
// From the chunks' sums to the channels' numbers: in double, in fixed order, a block of channels a row.
#include <cmath>
#include <cstdint>

#include "engine/seam.h"
#include "layers/batch_norm_kernels.h"
#include "layers/batch_norm_pixels.h"
#include "layers/channel_groups.h"

namespace mlkd {

constexpr int merge_channels = 8;  // of a row: 32 bytes of each partial vector, a sector of a GPU's memory
constexpr std::int64_t merge_rows(int channels) { return (channels + merge_channels - 1) / merge_channels; }
// Of a row: sums (width), what is kept from one pass to the next (width), and sums of lanes (lanes, width).
inline std::size_t merge_scratch_bytes(int team_size) {
    return sizeof(double) * static_cast<std::size_t>(2 * merge_channels + (team_size > merge_channels ? team_size : merge_channels));
}

// Sums over a view's chunks for the channels first .. first + width - 1 of one row. `term(chunk, c)` in double.
template <class Team, class Term>
MLKD_HD void sum_over_chunks(const Team& team, double* sums, double* scratch, int width, std::int64_t chunks, const Term& term) {
    const ChannelGroups<1> mine(team, width);
    for (int c = mine.first; c < width; c += mine.stride) {
        double sum = 0.0;
        for (std::int64_t chunk = mine.lane; chunk < chunks; chunk += mine.lanes) sum += term(chunk, c);
        scratch[mine.lane * width + c] = sum;
    }
    team.sync();
    for (int c = team.rank(); c < width; c += team.size()) {
        double sum = 0.0;
        for (int lane = 0; lane < mine.lanes; ++lane) sum += scratch[lane * width + c];
        sums[c] = sum;
    }
    team.sync();
}

// Row: a block of channels. Means and variances of each view, and the running statistics view by view.
template <class T> struct StatisticsMerge {
    T *mean, *inverse_deviation;         // (views, C)
    T *running_mean, *running_variance;  // (C)
    const T* partials;                   // (views, chunks, 2, C): a chunk's mean and sum of squared deviations from it
    Pixels pixels;
    int views, updates_per_view;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels, first = static_cast<int>(row) * merge_channels;
        const int width = C - first < merge_channels ? C - first : merge_channels;
        double* const sums = team.template scratch<double>();
        double* const kept = sums + merge_channels;
        double* const scratch = kept + merge_channels;
        const auto total = static_cast<double>(pixels.per_view);
        for (int view = 0; view < views; ++view) {
            const T* const of_view = partials + view * pixels.chunks * 2 * C + first;
            sum_over_chunks(team, sums, scratch, width, pixels.chunks, Mean{of_view, pixels});
            T* const view_mean = mean + view * C + first;
            for (int c = team.rank(); c < width; c += team.size()) kept[c] = sums[c] / total;
            team.sync();
            sum_over_chunks(team, sums, scratch, width, pixels.chunks, Deviation{of_view, kept, pixels});
            for (int c = team.rank(); c < width; c += team.size()) {
                const double variance = sums[c] / total;
                const double unbiased = total > 1.0 ? sums[c] / (total - 1.0) : variance;
                view_mean[c] = static_cast<T>(kept[c]);
                inverse_deviation[view * C + first + c] = static_cast<T>(1.0 / std::sqrt(variance + static_cast<double>(batch_norm_epsilon<T>)));
                T &running_m = running_mean[first + c], &running_v = running_variance[first + c];
                for (int update = 0; update < updates_per_view; ++update) {
                    running_m += batch_norm_momentum<T> * (static_cast<T>(kept[c]) - running_m);
                    running_v += batch_norm_momentum<T> * (static_cast<T>(unbiased) - running_v);
                }
            }
            team.sync();
        }
    }

private:
    struct Mean {
        const T* of_view;  // (chunks, 2, C), from the row's first channel on
        Pixels pixels;
        MLKD_HD double operator()(std::int64_t chunk, int c) const {
            return static_cast<double>(pixels.count(chunk)) * static_cast<double>(of_view[chunk * 2 * pixels.channels + c]);
        }
    };
    struct Deviation {  // Σ (x − mean)² = Σ of the chunks' own + Σ count · (chunk's mean − mean)²
        const T* of_view;
        const double* means;  // of the row's channels
        Pixels pixels;
        MLKD_HD double operator()(std::int64_t chunk, int c) const {
            const T* const chunk_mean = of_view + chunk * 2 * pixels.channels;
            const double distance = static_cast<double>(chunk_mean[c]) - means[c];
            return static_cast<double>(chunk_mean[pixels.channels + c]) + static_cast<double>(pixels.count(chunk)) * distance * distance;
        }
    };
};

// Row: a block of channels.
template <class T> struct BackwardMerge {
    T *dL_dgamma, *dL_dbeta;    // (C)
    T *mean_dz, *mean_dz_xhat;  // (views, C)
    const T* partials;          // (views, chunks, 2, C): sums of dz and of dz · xhat
    Pixels pixels;
    int views;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels, first = static_cast<int>(row) * merge_channels;
        const int width = C - first < merge_channels ? C - first : merge_channels;
        double* const sums = team.template scratch<double>();
        double* const kept = sums + merge_channels;
        double* const scratch = kept + merge_channels;
        const auto total = static_cast<double>(pixels.per_view);
        for (int which = 0; which < 2; ++which) {  // dz, dz · xhat
            T* const means = (which == 0 ? mean_dz : mean_dz_xhat) + first;
            T* const whole = (which == 0 ? dL_dbeta : dL_dgamma) + first;
            for (int c = team.rank(); c < width; c += team.size()) kept[c] = 0.0;  // the sum over the views
            for (int view = 0; view < views; ++view) {
                const T* const of_view = partials + (view * pixels.chunks * 2 + which) * C + first;
                sum_over_chunks(team, sums, scratch, width, pixels.chunks, Sum{of_view, 2 * C});
                for (int c = team.rank(); c < width; c += team.size()) {
                    means[view * C + c] = static_cast<T>(sums[c] / total);
                    kept[c] += sums[c];
                }
                team.sync();
            }
            for (int c = team.rank(); c < width; c += team.size()) whole[c] = static_cast<T>(kept[c]);
        }
    }

private:
    struct Sum {
        const T* of_view;
        std::int64_t step;
        MLKD_HD double operator()(std::int64_t chunk, int c) const { return static_cast<double>(of_view[chunk * step + c]); }
    };
};

}  // namespace mlkd
