#pragma once
// From the chunks' sums to the channels' numbers: in double, in fixed order, a few channels a row.
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "engine/seam.h"
#include "layers/batch_norm_kernels.h"
#include "layers/batch_norm_pixels.h"
#include "layers/channel_groups.h"

namespace mlkd {

constexpr int merge_channels = 4;  // of a row: enough rows for a GPU's multiprocessors, as the work is all waiting for memory
constexpr std::int64_t merge_rows(int channels) { return (channels + merge_channels - 1) / merge_channels; }

// What a row sums over the chunks: a column for each view, each of a chunk's two numbers, and each of the row's channels. All
// of them at once, since one pass over the chunks costs a GPU the latency of its memory, whatever it carries.
struct MergeColumns {
    Pixels pixels;
    int views, first, width;  // first: the row's first channel; width: how many it has

    MLKD_HD MergeColumns(const Pixels& cut, int view_count, std::int64_t row)
        : pixels(cut), views(view_count), first(static_cast<int>(row) * merge_channels), width(cut.channels - first) {
        if (width > merge_channels) width = merge_channels;
    }
    MLKD_HD int count() const { return 2 * views * width; }
    MLKD_HD int at(int view, int which, int c) const { return (2 * view + which) * width + c; }
    MLKD_HD int view(int column) const { return column / (2 * width); }
    MLKD_HD int which(int column) const { return column / width % 2; }
    MLKD_HD int channel(int column) const { return first + column % width; }
    // Of a chunk's first number in partials (views, chunks, 2, C); the second one is C further on.
    MLKD_HD std::int64_t offset(int view, std::int64_t chunk, int channel) const {
        return (view * pixels.chunks + chunk) * 2 * pixels.channels + channel;
    }
};

// Of a row: sums (columns), and what sum_columns() needs.
inline std::size_t merge_scratch_bytes(int team_size, int views) {
    const int columns = 2 * views * merge_channels;
    return sizeof(double) * (static_cast<std::size_t>(columns) + column_scratch(team_size, columns));
}

// The row's sums over the chunks, by column, where every member sees them.
template <class Team, class Term>
MLKD_HD const double* sum_over_chunks(const Team& team, const MergeColumns& columns, const Term& term) {
    const int count = columns.count();
    double* const sums = team.template scratch<double>();
    sum_columns(team, sums + count, count, columns.pixels.chunks, term, [&](int column, double sum) { sums[column] = sum; });
    team.sync();
    return sums;
}

// Row: a few channels. Means and variances of each view, and the running statistics view by view.
template <class T> struct StatisticsMerge {
    T *mean, *inverse_deviation;         // (views, C)
    T *running_mean, *running_variance;  // (C)
    const T* partials;                   // (views, chunks, 2, C): a chunk's mean and sum of squared deviations from it
    Pixels pixels;
    int views, updates_per_view;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const MergeColumns columns(pixels, views, row);
        const double* const sums = sum_over_chunks(team, columns, AroundFirstChunk{partials, columns});
        const auto total = static_cast<double>(pixels.per_view);
        for (int c = team.rank(); c < columns.width; c += team.size()) {
            const int channel = columns.first + c;
            for (int view = 0; view < views; ++view) {
                const double shift = sums[columns.at(view, 0, c)] / total;  // from the first chunk's mean to that of all
                const double center = static_cast<double>(partials[columns.offset(view, 0, channel)]) + shift;
                const double squares = sums[columns.at(view, 1, c)] - shift * shift * total;
                const double variance = (squares < 0.0 ? 0.0 : squares) / total;  // below 0: rounding; a NaN passes on
                const double unbiased = total > 1.0 ? variance * total / (total - 1.0) : variance;
                mean[view * pixels.channels + channel] = static_cast<T>(center);
                inverse_deviation[view * pixels.channels + channel] =
                    static_cast<T>(1.0 / std::sqrt(variance + static_cast<double>(batch_norm_epsilon<T>)));
                T &running_m = running_mean[channel], &running_v = running_variance[channel];
                for (int update = 0; update < updates_per_view; ++update) {
                    running_m += batch_norm_momentum<T> * (static_cast<T>(center) - running_m);
                    running_v += batch_norm_momentum<T> * (static_cast<T>(unbiased) - running_v);
                }
            }
        }
    }

private:
    // With d the distance of a chunk's mean from the first chunk's, Σ n·d and Σ (the chunk's own squares + n·d²): so that a large
    // mean costs no digits (Chan, Golub, LeVeque, 1983).
    struct AroundFirstChunk {
        const T* partials;
        MergeColumns columns;
        MLKD_HD double operator()(std::int64_t chunk, int column) const {
            const int view = columns.view(column), channel = columns.channel(column);
            const T *const first = partials + columns.offset(view, 0, channel), *const here = partials + columns.offset(view, chunk, channel);
            const auto n = static_cast<double>(columns.pixels.count_of_chunk(chunk));
            const double d = static_cast<double>(here[0]) - static_cast<double>(first[0]);
            return columns.which(column) == 0 ? n * d : static_cast<double>(here[columns.pixels.channels]) + n * d * d;
        }
    };
};

// Row: a few channels.
template <class T> struct BackwardMerge {
    T *dL_dgamma, *dL_dbeta;    // (C)
    T *mean_dz, *mean_dz_xhat;  // (views, C)
    const T* partials;          // (views, chunks, 2, C): sums of dz and of dz · xhat
    Pixels pixels;
    int views;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const MergeColumns columns(pixels, views, row);
        const double* const sums = sum_over_chunks(team, columns, [&](std::int64_t chunk, int column) {
            const std::int64_t at = columns.offset(columns.view(column), chunk, columns.channel(column));
            return static_cast<double>(partials[at + columns.which(column) * pixels.channels]);
        });
        const auto total = static_cast<double>(pixels.per_view);
        for (int c = team.rank(); c < columns.width; c += team.size()) {
            const int channel = columns.first + c;
            double sum_dz = 0.0, sum_dz_xhat = 0.0;  // over the views
            for (int view = 0; view < views; ++view) {
                const double of_dz = sums[columns.at(view, 0, c)], of_dz_xhat = sums[columns.at(view, 1, c)];
                mean_dz[view * pixels.channels + channel] = static_cast<T>(of_dz / total);
                mean_dz_xhat[view * pixels.channels + channel] = static_cast<T>(of_dz_xhat / total);
                sum_dz += of_dz;
                sum_dz_xhat += of_dz_xhat;
            }
            dL_dbeta[channel] = static_cast<T>(sum_dz);
            dL_dgamma[channel] = static_cast<T>(sum_dz_xhat);
        }
    }
};

}  // namespace mlkd
