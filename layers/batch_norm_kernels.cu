#include "layers/batch_norm_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/dispatch.h"
#include "layers/batch_norm_merge.h"
#include "layers/batch_norm_vectors.h"

namespace mlkd {
namespace {

// Elements of a chunk: enough chunks for every multiprocessor of a GPU, and enough work in each for its start. A constant, so that
// sums group alike on any number of threads.
constexpr std::int64_t chunk_elements = 16384;
constexpr std::int64_t most_chunk_pixels = 256;

Pixels pixels_of(const Shape& x, int views) {
    MLKD_CHECK(x.rank() == 4 && views > 0 && x[0] % views == 0, "batch norm: " + x.text() + " does not split into the views");
    const std::int64_t per_view = x[0] / views * x[1] * x[2];
    const std::int64_t chunk = std::clamp<std::int64_t>(chunk_elements / x[3], 1, most_chunk_pixels);
    return {per_view, chunk, (per_view + chunk - 1) / chunk, static_cast<int>(x[3])};
}

// Row: a chunk. Writes the chunk's mean and sum of squared deviations a channel. Sums are taken around the chunk's
// first pixel, so that a large mean costs no digits.
template <class S> struct StatisticsPartial {
    using T = computed_t<S>;
    T* partials;  // (views, chunks, 2, C)
    const S* x;   // (views · per_view, C)
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        T* __restrict__ sum = team.template scratch<T>();  // (C), each entry touched by one member
        T* __restrict__ square = sum + C;                      // (C)
        const S* __restrict__ origin = x + pixels.first(row) * C;
        for (int c = team.rank(); c < C; c += team.size()) sum[c] = square[c] = T{0};
        const std::int64_t count = pixels.count(row);
        for (std::int64_t p = 0; p < count; ++p) {
            const S* __restrict__ pixel = origin + p * C;
            for (int c = team.rank(); c < C; c += team.size()) {
                const T shifted = static_cast<T>(pixel[c]) - static_cast<T>(origin[c]);
                sum[c] += shifted;
                square[c] += shifted * shifted;
            }
        }
        T* out = partials + row * 2 * C;
        for (int c = team.rank(); c < C; c += team.size()) {
            out[c] = static_cast<T>(origin[c]) + sum[c] / static_cast<T>(count);
            out[C + c] = square[c] - sum[c] * sum[c] / static_cast<T>(count);
        }
    }
};

// Row: a chunk.
template <class S> struct Apply {
    using T = computed_t<S>;
    S* y;
    const S* x;
    const T *mean, *inverse_deviation;  // (views, C)
    const T *gamma, *beta;              // (C)
    const S* residual;                  // like y, or nullptr
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C, count = pixels.count(row);
        T* __restrict__ scale = team.template scratch<T>();  // (C), each entry touched by one member
        T* __restrict__ center = scale + C;                      // (C)
        for (int c = team.rank(); c < C; c += team.size()) {
            scale[c] = gamma[c] * inverse_deviation[view * C + c];
            center[c] = mean[view * C + c];
        }
        const T floor = relu ? T{0} : static_cast<T>(-INFINITY);
        for (std::int64_t p = 0; p < count; ++p) {
            const S* in = x + first + p * C;
            S* out = y + first + p * C;
            if (residual != nullptr) {
                const S* shortcut = residual + first + p * C;
                for (int c = team.rank(); c < C; c += team.size()) {
                    const T z = (static_cast<T>(in[c]) - center[c]) * scale[c] + beta[c] + static_cast<T>(shortcut[c]);
                    out[c] = static_cast<S>(z < floor ? floor : z);  // a NaN passes on
                }
            } else {
                for (int c = team.rank(); c < C; c += team.size()) {
                    const T z = (static_cast<T>(in[c]) - center[c]) * scale[c] + beta[c];
                    out[c] = static_cast<S>(z < floor ? floor : z);
                }
            }
        }
    }
};

// Row: a chunk. Turns dL_dy into dz and writes the chunk's sums of dz and of dz · xhat a channel.
template <class S> struct BackwardPartial {
    using T = computed_t<S>;
    T* partials;                        // (views, chunks, 2, C)
    S* dL_dy;                           // becomes dz
    const S *y, *x;
    const T *mean, *inverse_deviation;  // (views, C)
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C, count = pixels.count(row);
        T* __restrict__ sum_dz = team.template scratch<T>();  // (C), each entry touched by one member
        T* __restrict__ sum_dz_x = sum_dz + C;                    // (C), of dz · (x − mean)
        const T* __restrict__ center = mean + view * C;
        for (int c = team.rank(); c < C; c += team.size()) sum_dz[c] = sum_dz_x[c] = T{0};
        for (std::int64_t p = 0; p < count; ++p) {
            S* __restrict__ gradient = dL_dy + first + p * C;
            const S* __restrict__ output = y + first + p * C;
            const S* __restrict__ input = x + first + p * C;
            if (relu) {
                // The compiler gives up on so many pointers that might overlap; they don't.
#pragma omp simd
                for (int c = team.rank(); c < C; c += team.size()) {
                    const S kept = kept_if(static_cast<T>(output[c]) > T{0}, gradient[c]);
                    const T dz = static_cast<T>(kept);
                    gradient[c] = kept;
                    sum_dz[c] += dz;
                    sum_dz_x[c] += dz * (static_cast<T>(input[c]) - center[c]);
                }
            } else {
                for (int c = team.rank(); c < C; c += team.size()) {
                    const T dz = static_cast<T>(gradient[c]);
                    sum_dz[c] += dz;
                    sum_dz_x[c] += dz * (static_cast<T>(input[c]) - center[c]);
                }
            }
        }
        T* out = partials + row * 2 * C;
        for (int c = team.rank(); c < C; c += team.size()) {
            out[c] = sum_dz[c];
            out[C + c] = sum_dz_x[c] * inverse_deviation[view * C + c];
        }
    }
};

// Row: a chunk.
template <class S> struct BackwardApply {
    using T = computed_t<S>;
    S* dL_dx;
    const S *dz, *x;
    const T *mean, *inverse_deviation;  // (views, C)
    const T* gamma;                     // (C)
    const T *mean_dz, *mean_dz_xhat;    // (views, C)
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C, count = pixels.count(row);
        T* __restrict__ scale = team.template scratch<T>();  // (C), each entry touched by one member
        T* __restrict__ slope = scale + C;                       // (C)
        T* __restrict__ offset = slope + C;                      // (C)
        T* __restrict__ center = offset + C;                     // (C)
        for (int c = team.rank(); c < C; c += team.size()) {
            scale[c] = gamma[c] * inverse_deviation[view * C + c];
            slope[c] = inverse_deviation[view * C + c] * mean_dz_xhat[view * C + c];
            offset[c] = mean_dz[view * C + c];
            center[c] = mean[view * C + c];
        }
        for (std::int64_t p = 0; p < count; ++p) {
            const S* __restrict__ gradient = dz + first + p * C;
            const S* __restrict__ input = x + first + p * C;
            S* __restrict__ out = dL_dx + first + p * C;
            for (int c = team.rank(); c < C; c += team.size())
                out[c] = static_cast<S>(scale[c] * (static_cast<T>(gradient[c]) - offset[c] - (static_cast<T>(input[c]) - center[c]) * slope[c]));
        }
    }
};

// Row: an output channel of the filter.
template <class S> struct Fold {
    using T = computed_t<S>;
    S *folded_w, *folded_bias;
    const T* w;  // (K, taps)
    const T *running_mean, *running_variance, *gamma, *beta;  // (K)
    std::int64_t taps;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t k) const {
        const T scale = gamma[k] / std::sqrt(running_variance[k] + batch_norm_epsilon<T>);
        for (std::int64_t i = team.rank(); i < taps; i += team.size()) folded_w[k * taps + i] = static_cast<S>(w[k * taps + i] * scale);
        if (team.rank() == 0) folded_bias[k] = static_cast<S>(beta[k] - running_mean[k] * scale);
    }
};

// Row: an image's line of pixels.
template <class S> struct Evaluate {
    using T = computed_t<S>;
    S* y;
    const S* x;
    const T *running_mean, *running_variance, *gamma, *beta;  // (C)
    bool relu;
    std::int64_t pixels;  // of a row
    int channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        T* __restrict__ scale = team.template scratch<T>();  // (C), each entry touched by one member
        for (int c = team.rank(); c < channels; c += team.size())
            scale[c] = gamma[c] / std::sqrt(running_variance[c] + batch_norm_epsilon<T>);
        const T floor = relu ? T{0} : static_cast<T>(-INFINITY);
        for (std::int64_t p = 0; p < pixels; ++p) {
            const S* in = x + (row * pixels + p) * channels;
            S* out = y + (row * pixels + p) * channels;
            for (int c = team.rank(); c < channels; c += team.size()) {
                const T z = (static_cast<T>(in[c]) - running_mean[c]) * scale[c] + beta[c];
                out[c] = static_cast<S>(z < floor ? floor : z);
            }
        }
    }
};

// For one thread a row: vectors over channels in its scratch.
template <class T> RowLaunch with_vectors(int vectors, int channels) {
    return {.scratch_bytes = static_cast<std::size_t>(vectors) * static_cast<std::size_t>(channels) * sizeof(T)};
}

// For a team a row: two sums a channel from each of its lanes.
template <class T, int V> RowLaunch with_lane_sums(int channels) {
    const auto lanes = static_cast<std::size_t>(ChannelGroups<V>::lanes_of(block, channels));
    return {.scratch_bytes = 2 * lanes * static_cast<std::size_t>(channels) * sizeof(T), .team_size = block};
}

template <class T> const T* data_or_null(const Tensor& tensor) { return tensor.empty() ? nullptr : tensor.as<T>(); }

// Launches Vectors<S, V>{arguments...} for teams, with the widest word that serves, else Serial<S>{arguments...}. sums: whether
// teams add up sums in their scratch; vectors: how many vectors over channels the serial form keeps in its own.
template <template <class, int> class Vectors, template <class> class Serial, class S, class... Arguments>
void launch_pass(const Stream& stream, const Pixels& pixels, std::int64_t rows, std::initializer_list<Tensor> activations, bool sums,
                 int vectors, const Arguments&... arguments) {
    using T = computed_t<S>;
    if (!has_teams(stream)) return for_each_row(stream, rows, Serial<S>{arguments...}, with_vectors<T>(vectors, pixels.channels));
    with_words<S>(activations, pixels.channels, [&](auto width) {
        constexpr int V = decltype(width)::value;
        const RowLaunch shape = sums ? with_lane_sums<T, V>(pixels.channels) : RowLaunch{.team_size = block};
        for_each_row(stream, rows, Vectors<S, V>{arguments...}, shape);
    });
}

// Twice a block: few rows, each of which waits for memory.
RowLaunch merge_launch(int views) { return {.scratch_bytes = merge_scratch_bytes(2 * block, views), .team_size = 2 * block}; }

}  // namespace

Shape batch_norm_partials_shape(const Shape& x, int views) {
    const Pixels pixels = pixels_of(x, views);
    return {views, pixels.chunks, 2, x[3]};
}

void batch_norm_statistics(const Stream& stream, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& running_mean,
                           const Tensor& running_variance, const Tensor& partials, const Tensor& x, int views,
                           int updates_per_view) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        launch_pass<StatisticsPartialVectors, StatisticsPartial, S>(stream, pixels, views * pixels.chunks, {x}, true, 2, partials.as<T>(),
                                                                    x.as<S>(), pixels);
        for_each_row(stream, merge_rows(pixels.channels),
                     StatisticsMerge<T>{mean.as<T>(), inverse_deviation.as<T>(), running_mean.as<T>(), running_variance.as<T>(),
                                        partials.as<T>(), pixels, views, updates_per_view},
                     merge_launch(views));
    });
}

void batch_norm_apply(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation,
                      const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        launch_pass<ApplyVectors, Apply, S>(stream, pixels, views * pixels.chunks, {y, x, residual}, false, 2, y.as<S>(), x.as<S>(),
                                            mean.as<T>(), inverse_deviation.as<T>(), gamma.as<T>(), beta.as<T>(),
                                            data_or_null<S>(residual), relu, pixels);
    });
}

void batch_norm_backward_sums(const Stream& stream, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& mean_dz,
                              const Tensor& mean_dz_xhat, const Tensor& partials, const Tensor& dL_dy, const Tensor& y, const Tensor& x,
                              const Tensor& mean, const Tensor& inverse_deviation, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        launch_pass<BackwardPartialVectors, BackwardPartial, S>(stream, pixels, views * pixels.chunks, {dL_dy, y, x}, true, 2,
                                                                partials.as<T>(), dL_dy.as<S>(), y.as<S>(), x.as<S>(), mean.as<T>(),
                                                                inverse_deviation.as<T>(), relu, pixels);
        for_each_row(stream, merge_rows(pixels.channels),
                     BackwardMerge<T>{dL_dgamma.as<T>(), dL_dbeta.as<T>(), mean_dz.as<T>(), mean_dz_xhat.as<T>(), partials.as<T>(),
                                      pixels, views},
                     merge_launch(views));
    });
}

void batch_norm_backward_apply(const Stream& stream, const Tensor& dL_dx, const Tensor& dz, const Tensor& x, const Tensor& mean,
                               const Tensor& inverse_deviation, const Tensor& gamma, const Tensor& mean_dz, const Tensor& mean_dz_xhat,
                               int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        launch_pass<BackwardApplyVectors, BackwardApply, S>(stream, pixels, views * pixels.chunks, {dL_dx, dz, x}, false, 4, dL_dx.as<S>(),
                                                            dz.as<S>(), x.as<S>(), mean.as<T>(), inverse_deviation.as<T>(), gamma.as<T>(),
                                                            mean_dz.as<T>(), mean_dz_xhat.as<T>(), pixels);
    });
}

void batch_norm_evaluate(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& running_mean, const Tensor& running_variance,
                         const Tensor& gamma, const Tensor& beta, bool relu) {
    const int channels = static_cast<int>(x.dim(3));
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        for_each_row(stream, x.dim(0) * x.dim(1),
                     Evaluate<S>{y.as<S>(), x.as<S>(), running_mean.as<T>(), running_variance.as<T>(), gamma.as<T>(), beta.as<T>(), relu,
                                 x.dim(2), channels},
                     with_vectors<T>(1, channels));
    });
}

void batch_norm_fold(const Stream& stream, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w, const Tensor& running_mean,
                     const Tensor& running_variance, const Tensor& gamma, const Tensor& beta) {
    with_stored_type(folded_w.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        for_each_row(stream, w.dim(0),
                     Fold<S>{folded_w.as<S>(), folded_bias.as<S>(), w.as<T>(), running_mean.as<T>(), running_variance.as<T>(),
                             gamma.as<T>(), beta.as<T>(), w.elements() / w.dim(0)});
    });
}

}  // namespace mlkd
