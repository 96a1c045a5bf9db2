#include "layers/batch_norm_kernels.h"

#include <cmath>

#include "engine/dispatch.h"

namespace mlkd {
namespace {

// Pixels a row of the partial-sum kernels works on. A constant, so that sums group alike for any number of threads.
constexpr std::int64_t chunk_pixels = 256;

// The pixels of a tensor (N, H, W, C), its views one behind the other.
struct Pixels {
    std::int64_t per_view;
    std::int64_t chunks;  // of a view
    int channels;

    MLKD_HD std::int64_t first(std::int64_t row) const { return row / chunks * per_view + row % chunks * chunk_pixels; }
    MLKD_HD std::int64_t count(std::int64_t row) const {
        const std::int64_t left = per_view - row % chunks * chunk_pixels;
        return left < chunk_pixels ? left : chunk_pixels;
    }
};

Pixels pixels_of(const Shape& x, int views) {
    MLKD_CHECK(x.rank() == 4 && views > 0 && x[0] % views == 0, "batch norm: " + x.text() + " does not split into the views");
    const std::int64_t per_view = x[0] / views * x[1] * x[2];
    return {per_view, (per_view + chunk_pixels - 1) / chunk_pixels, static_cast<int>(x[3])};
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

// Index: a channel. Merges the chunks (Chan, Golub, LeVeque 1983) in double and updates the running statistics.
template <class T> struct StatisticsMerge {
    T *mean, *inverse_deviation;           // (views, C)
    T *running_mean, *running_variance;    // (C)
    const T* partials;                     // (views, chunks, 2, C)
    Pixels pixels;
    int views, updates_per_view;

    MLKD_HD void operator()(std::int64_t c) const {
        const int C = pixels.channels;
        for (int view = 0; view < views; ++view) {
            double total = 0.0, merged_mean = 0.0, merged_square = 0.0;
            for (std::int64_t chunk = 0; chunk < pixels.chunks; ++chunk) {
                const std::int64_t row = view * pixels.chunks + chunk;
                const double count = static_cast<double>(pixels.count(row));
                const double delta = partials[row * 2 * C + c] - merged_mean;
                merged_square += partials[row * 2 * C + C + c] + delta * delta * total * count / (total + count);
                merged_mean += delta * count / (total + count);
                total += count;
            }
            const double variance = merged_square / total;
            const double unbiased = total > 1.0 ? merged_square / (total - 1.0) : variance;
            mean[view * C + c] = static_cast<T>(merged_mean);
            inverse_deviation[view * C + c] = static_cast<T>(1.0 / std::sqrt(variance + static_cast<double>(batch_norm_epsilon<T>)));
            for (int update = 0; update < updates_per_view; ++update) {
                running_mean[c] += batch_norm_momentum<T> * (static_cast<T>(merged_mean) - running_mean[c]);
                running_variance[c] += batch_norm_momentum<T> * (static_cast<T>(unbiased) - running_variance[c]);
            }
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
                    const T dz = static_cast<T>(output[c]) > T{0} ? static_cast<T>(gradient[c]) : T{0};
                    gradient[c] = static_cast<S>(dz);
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

// Index: a channel.
template <class T> struct BackwardMerge {
    T *dL_dgamma, *dL_dbeta;      // (C)
    T *mean_dz, *mean_dz_xhat;    // (views, C)
    const T* partials;            // (views, chunks, 2, C)
    Pixels pixels;
    int views;

    MLKD_HD void operator()(std::int64_t c) const {
        const int C = pixels.channels;
        double total_dz = 0.0, total_dz_xhat = 0.0;
        for (int view = 0; view < views; ++view) {
            double sum_dz = 0.0, sum_dz_xhat = 0.0;
            for (std::int64_t chunk = 0; chunk < pixels.chunks; ++chunk) {
                const T* partial = partials + (view * pixels.chunks + chunk) * 2 * C;
                sum_dz += partial[c];
                sum_dz_xhat += partial[C + c];
            }
            mean_dz[view * C + c] = static_cast<T>(sum_dz / static_cast<double>(pixels.per_view));
            mean_dz_xhat[view * C + c] = static_cast<T>(sum_dz_xhat / static_cast<double>(pixels.per_view));
            total_dz += sum_dz;
            total_dz_xhat += sum_dz_xhat;
        }
        dL_dbeta[c] = static_cast<T>(total_dz);
        dL_dgamma[c] = static_cast<T>(total_dz_xhat);
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

template <class T> RowLaunch with_vectors(int vectors, int channels) {
    return {.scratch_bytes = static_cast<std::size_t>(vectors) * static_cast<std::size_t>(channels) * sizeof(T)};
}

template <class T> const T* data_or_null(const Tensor& tensor) { return tensor.empty() ? nullptr : tensor.as<T>(); }

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
        for_each_row(stream, views * pixels.chunks, StatisticsPartial<S>{partials.as<T>(), x.as<S>(), pixels},
                     with_vectors<T>(2, pixels.channels));
        for_each_index(stream, pixels.channels,
                       StatisticsMerge<T>{mean.as<T>(), inverse_deviation.as<T>(), running_mean.as<T>(), running_variance.as<T>(),
                                          partials.as<T>(), pixels, views, updates_per_view});
    });
}

void batch_norm_apply(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation,
                      const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        for_each_row(stream, views * pixels.chunks,
                     Apply<S>{y.as<S>(), x.as<S>(), mean.as<T>(), inverse_deviation.as<T>(), gamma.as<T>(), beta.as<T>(),
                              data_or_null<S>(residual), relu, pixels},
                     with_vectors<T>(2, pixels.channels));
    });
}

void batch_norm_backward_sums(const Stream& stream, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& mean_dz,
                              const Tensor& mean_dz_xhat, const Tensor& partials, const Tensor& dL_dy, const Tensor& y, const Tensor& x,
                              const Tensor& mean, const Tensor& inverse_deviation, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        for_each_row(stream, views * pixels.chunks,
                     BackwardPartial<S>{partials.as<T>(), dL_dy.as<S>(), y.as<S>(), x.as<S>(), mean.as<T>(), inverse_deviation.as<T>(),
                                        relu, pixels},
                     with_vectors<T>(2, pixels.channels));
        for_each_index(stream, pixels.channels,
                       BackwardMerge<T>{dL_dgamma.as<T>(), dL_dbeta.as<T>(), mean_dz.as<T>(), mean_dz_xhat.as<T>(), partials.as<T>(),
                                        pixels, views});
    });
}

void batch_norm_backward_apply(const Stream& stream, const Tensor& dL_dx, const Tensor& dz, const Tensor& x, const Tensor& mean,
                               const Tensor& inverse_deviation, const Tensor& gamma, const Tensor& mean_dz, const Tensor& mean_dz_xhat,
                               int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        for_each_row(stream, views * pixels.chunks,
                     BackwardApply<S>{dL_dx.as<S>(), dz.as<S>(), x.as<S>(), mean.as<T>(), inverse_deviation.as<T>(), gamma.as<T>(),
                                      mean_dz.as<T>(), mean_dz_xhat.as<T>(), pixels},
                     with_vectors<T>(4, pixels.channels));
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
