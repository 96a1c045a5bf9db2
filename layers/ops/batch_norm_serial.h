#pragma once
// Batch norm's passes over a tensor for one thread a row, vectorised over channels: what a CPU runs. The forms for a thread block
// are in batch_norm_vectors.h.
#include <cmath>
#include <cstdint>

#include "engine/bfloat16.h"
#include "engine/kernels/device_code.h"
#include "layers/ops/batch_norm_pixels.h"

namespace mlkd {

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

}  // namespace mlkd
