#include "layers/batch_norm_kernels.h"

#include <cmath>

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
struct StatisticsPartial {
    float* partials;  // (views, chunks, 2, C)
    const float* x;   // (views · per_view, C)
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        float* __restrict__ sum = team.template scratch<float>();  // (C), each entry touched by one member
        float* __restrict__ square = sum + C;                      // (C)
        const float* __restrict__ origin = x + pixels.first(row) * C;
        for (int c = team.rank(); c < C; c += team.size()) sum[c] = square[c] = 0.0f;
        const std::int64_t count = pixels.count(row);
        for (std::int64_t p = 0; p < count; ++p) {
            const float* __restrict__ pixel = origin + p * C;
            for (int c = team.rank(); c < C; c += team.size()) {
                const float shifted = pixel[c] - origin[c];
                sum[c] += shifted;
                square[c] += shifted * shifted;
            }
        }
        float* out = partials + row * 2 * C;
        for (int c = team.rank(); c < C; c += team.size()) {
            out[c] = origin[c] + sum[c] / static_cast<float>(count);
            out[C + c] = square[c] - sum[c] * sum[c] / static_cast<float>(count);
        }
    }
};

// Index: a channel. Merges the chunks (Chan, Golub, LeVeque 1983) in double and updates the running statistics.
struct StatisticsMerge {
    float *mean, *inverse_deviation;           // (views, C)
    float *running_mean, *running_variance;    // (C)
    const float* partials;                     // (views, chunks, 2, C)
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
            mean[view * C + c] = static_cast<float>(merged_mean);
            inverse_deviation[view * C + c] = static_cast<float>(1.0 / sqrt(variance + static_cast<double>(batch_norm_epsilon)));
            for (int update = 0; update < updates_per_view; ++update) {
                running_mean[c] += batch_norm_momentum * (static_cast<float>(merged_mean) - running_mean[c]);
                running_variance[c] += batch_norm_momentum * (static_cast<float>(unbiased) - running_variance[c]);
            }
        }
    }
};

// Row: a chunk.
struct Apply {
    float* y;
    const float* x;
    const float *mean, *inverse_deviation;  // (views, C)
    const float *gamma, *beta;              // (C)
    const float* residual;                  // like y, or nullptr
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C, count = pixels.count(row);
        float* __restrict__ scale = team.template scratch<float>();  // (C), each entry touched by one member
        float* __restrict__ center = scale + C;                      // (C)
        for (int c = team.rank(); c < C; c += team.size()) {
            scale[c] = gamma[c] * inverse_deviation[view * C + c];
            center[c] = mean[view * C + c];
        }
        const float floor = relu ? 0.0f : -INFINITY;
        for (std::int64_t p = 0; p < count; ++p) {
            const float* in = x + first + p * C;
            float* out = y + first + p * C;
            if (residual != nullptr) {
                const float* shortcut = residual + first + p * C;
                for (int c = team.rank(); c < C; c += team.size()) {
                    const float z = (in[c] - center[c]) * scale[c] + beta[c] + shortcut[c];
                    out[c] = z < floor ? floor : z;  // a NaN passes on
                }
            } else {
                for (int c = team.rank(); c < C; c += team.size()) {
                    const float z = (in[c] - center[c]) * scale[c] + beta[c];
                    out[c] = z < floor ? floor : z;
                }
            }
        }
    }
};

// Row: a chunk. Writes the chunk's sums of dz and of dz · xhat a channel.
struct BackwardPartial {
    float* partials;                        // (views, chunks, 2, C)
    const float *dL_dy, *y, *x;
    const float *mean, *inverse_deviation;  // (views, C)
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C, count = pixels.count(row);
        float* __restrict__ sum_dz = team.template scratch<float>();  // (C), each entry touched by one member
        float* __restrict__ sum_dz_x = sum_dz + C;                    // (C), of dz · (x − mean)
        const float* __restrict__ center = mean + view * C;
        for (int c = team.rank(); c < C; c += team.size()) sum_dz[c] = sum_dz_x[c] = 0.0f;
        for (std::int64_t p = 0; p < count; ++p) {
            const float* __restrict__ gradient = dL_dy + first + p * C;
            const float* __restrict__ output = y + first + p * C;
            const float* __restrict__ input = x + first + p * C;
            for (int c = team.rank(); c < C; c += team.size()) {
                const float dz = !relu || output[c] > 0.0f ? gradient[c] : 0.0f;
                sum_dz[c] += dz;
                sum_dz_x[c] += dz * (input[c] - center[c]);
            }
        }
        float* out = partials + row * 2 * C;
        for (int c = team.rank(); c < C; c += team.size()) {
            out[c] = sum_dz[c];
            out[C + c] = sum_dz_x[c] * inverse_deviation[view * C + c];
        }
    }
};

// Index: a channel.
struct BackwardMerge {
    float *dL_dgamma, *dL_dbeta;      // (C)
    float *mean_dz, *mean_dz_xhat;    // (views, C)
    const float* partials;            // (views, chunks, 2, C)
    Pixels pixels;
    int views;

    MLKD_HD void operator()(std::int64_t c) const {
        const int C = pixels.channels;
        double total_dz = 0.0, total_dz_xhat = 0.0;
        for (int view = 0; view < views; ++view) {
            double sum_dz = 0.0, sum_dz_xhat = 0.0;
            for (std::int64_t chunk = 0; chunk < pixels.chunks; ++chunk) {
                const float* partial = partials + (view * pixels.chunks + chunk) * 2 * C;
                sum_dz += partial[c];
                sum_dz_xhat += partial[C + c];
            }
            mean_dz[view * C + c] = static_cast<float>(sum_dz / static_cast<double>(pixels.per_view));
            mean_dz_xhat[view * C + c] = static_cast<float>(sum_dz_xhat / static_cast<double>(pixels.per_view));
            total_dz += sum_dz;
            total_dz_xhat += sum_dz_xhat;
        }
        dL_dbeta[c] = static_cast<float>(total_dz);
        dL_dgamma[c] = static_cast<float>(total_dz_xhat);
    }
};

// Row: a chunk.
struct BackwardApply {
    float* dL_dx;
    float* dL_dy;  // becomes dz
    const float *y, *x;
    const float *mean, *inverse_deviation;      // (views, C)
    const float* gamma;                         // (C)
    const float *mean_dz, *mean_dz_xhat;        // (views, C)
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C, count = pixels.count(row);
        // dL_dx = scale · (dz − offset − x · slope), with the mean taken into the offset.
        float* __restrict__ scale = team.template scratch<float>();  // (C), each entry touched by one member
        float* __restrict__ slope = scale + C;                       // (C)
        float* __restrict__ offset = slope + C;                      // (C)
        float* __restrict__ center = offset + C;                     // (C)
        for (int c = team.rank(); c < C; c += team.size()) {
            scale[c] = gamma[c] * inverse_deviation[view * C + c];
            slope[c] = inverse_deviation[view * C + c] * mean_dz_xhat[view * C + c];
            offset[c] = mean_dz[view * C + c];
            center[c] = mean[view * C + c];
        }
        for (std::int64_t p = 0; p < count; ++p) {
            float* __restrict__ gradient = dL_dy + first + p * C;
            const float* __restrict__ output = y + first + p * C;
            const float* __restrict__ input = x + first + p * C;
            float* __restrict__ out = dL_dx + first + p * C;
            for (int c = team.rank(); c < C; c += team.size()) {
                const float dz = !relu || output[c] > 0.0f ? gradient[c] : 0.0f;
                gradient[c] = dz;
                out[c] = scale[c] * (dz - offset[c] - (input[c] - center[c]) * slope[c]);
            }
        }
    }
};

// Row: an output channel of the filter.
struct Fold {
    float *folded_w, *folded_bias;
    const float* w;  // (K, taps)
    const float *running_mean, *running_variance, *gamma, *beta;  // (K)
    std::int64_t taps;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t k) const {
        const float scale = gamma[k] / sqrtf(running_variance[k] + batch_norm_epsilon);
        for (std::int64_t i = team.rank(); i < taps; i += team.size()) folded_w[k * taps + i] = w[k * taps + i] * scale;
        if (team.rank() == 0) folded_bias[k] = beta[k] - running_mean[k] * scale;
    }
};

// Row: an image's line of pixels.
struct Evaluate {
    float* y;
    const float* x;
    const float *running_mean, *running_variance, *gamma, *beta;  // (C)
    bool relu;
    std::int64_t pixels;  // of a row
    int channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        float* __restrict__ scale = team.template scratch<float>();  // (C), each entry touched by one member
        for (int c = team.rank(); c < channels; c += team.size()) scale[c] = gamma[c] / sqrtf(running_variance[c] + batch_norm_epsilon);
        const float floor = relu ? 0.0f : -INFINITY;
        for (std::int64_t p = 0; p < pixels; ++p) {
            const float* in = x + (row * pixels + p) * channels;
            float* out = y + (row * pixels + p) * channels;
            for (int c = team.rank(); c < channels; c += team.size()) {
                const float z = (in[c] - running_mean[c]) * scale[c] + beta[c];
                out[c] = z < floor ? floor : z;
            }
        }
    }
};

RowLaunch with_vectors(int vectors, int channels) {
    return {.scratch_bytes = static_cast<std::size_t>(vectors) * static_cast<std::size_t>(channels) * sizeof(float)};
}

const float* data_or_null(const Tensor& tensor) { return tensor.empty() ? nullptr : tensor.as<float>(); }

}  // namespace

Shape batch_norm_partials_shape(const Shape& x, int views) {
    const Pixels pixels = pixels_of(x, views);
    return {views, pixels.chunks, 2, x[3]};
}

void batch_norm_statistics(const Stream& stream, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& running_mean,
                           const Tensor& running_variance, const Tensor& partials, const Tensor& x, int views,
                           int updates_per_view) {
    const Pixels pixels = pixels_of(x.shape, views);
    for_each_row(stream, views * pixels.chunks, StatisticsPartial{partials.as<float>(), x.as<float>(), pixels},
                 with_vectors(2, pixels.channels));
    for_each_index(stream, pixels.channels,
                   StatisticsMerge{mean.as<float>(), inverse_deviation.as<float>(), running_mean.as<float>(), running_variance.as<float>(),
                                   partials.as<float>(), pixels, views, updates_per_view});
}

void batch_norm_apply(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation,
                      const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    for_each_row(stream, views * pixels.chunks,
                 Apply{y.as<float>(), x.as<float>(), mean.as<float>(), inverse_deviation.as<float>(), gamma.as<float>(), beta.as<float>(),
                       data_or_null(residual), relu, pixels},
                 with_vectors(2, pixels.channels));
}

void batch_norm_backward_sums(const Stream& stream, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& mean_dz,
                              const Tensor& mean_dz_xhat, const Tensor& partials, const Tensor& dL_dy, const Tensor& y, const Tensor& x,
                              const Tensor& mean, const Tensor& inverse_deviation, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    for_each_row(stream, views * pixels.chunks,
                 BackwardPartial{partials.as<float>(), dL_dy.as<float>(), y.as<float>(), x.as<float>(), mean.as<float>(),
                                 inverse_deviation.as<float>(), relu, pixels},
                 with_vectors(2, pixels.channels));
    for_each_index(stream, pixels.channels,
                   BackwardMerge{dL_dgamma.as<float>(), dL_dbeta.as<float>(), mean_dz.as<float>(), mean_dz_xhat.as<float>(),
                                 partials.as<float>(), pixels, views});
}

void batch_norm_backward_apply(const Stream& stream, const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& y, const Tensor& x,
                               const Tensor& mean, const Tensor& inverse_deviation, const Tensor& gamma, const Tensor& mean_dz,
                               const Tensor& mean_dz_xhat, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    for_each_row(stream, views * pixels.chunks,
                 BackwardApply{dL_dx.as<float>(), dL_dy.as<float>(), y.as<float>(), x.as<float>(), mean.as<float>(),
                               inverse_deviation.as<float>(), gamma.as<float>(), mean_dz.as<float>(), mean_dz_xhat.as<float>(), relu,
                               pixels},
                 with_vectors(4, pixels.channels));
}

void batch_norm_evaluate(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& running_mean, const Tensor& running_variance,
                         const Tensor& gamma, const Tensor& beta, bool relu) {
    const std::int64_t rows = x.dim(0) * x.dim(1);
    const int channels = static_cast<int>(x.dim(3));
    for_each_row(stream, rows,
                 Evaluate{y.as<float>(), x.as<float>(), running_mean.as<float>(), running_variance.as<float>(), gamma.as<float>(),
                          beta.as<float>(), relu, x.dim(2), channels},
                 with_vectors(1, channels));
}

void batch_norm_fold(const Stream& stream, const Tensor& folded_w, const Tensor& folded_bias, const Tensor& w, const Tensor& running_mean,
                     const Tensor& running_variance, const Tensor& gamma, const Tensor& beta) {
    for_each_row(stream, w.dim(0),
                 Fold{folded_w.as<float>(), folded_bias.as<float>(), w.as<float>(), running_mean.as<float>(), running_variance.as<float>(),
                      gamma.as<float>(), beta.as<float>(), w.elements() / w.dim(0)});
}

}  // namespace mlkd
