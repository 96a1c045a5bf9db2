#include "layers/ops/batch_norm_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "engine/types.h"
#include "layers/ops/batch_norm_merge.h"
#include "layers/ops/batch_norm_serial.h"
#include "layers/ops/batch_norm_vectors.h"

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
    const S* residual;                                        // like y, or nullptr
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
            const S* added = residual == nullptr ? nullptr : residual + (row * pixels + p) * channels;
            S* out = y + (row * pixels + p) * channels;
            for (int c = team.rank(); c < channels; c += team.size()) {
                T z = (static_cast<T>(in[c]) - running_mean[c]) * scale[c] + beta[c];
                if (added != nullptr) z += static_cast<T>(added[c]);
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

// Launches a pass over the chunks: for teams in_words(width), a kernel for words of `width` channels, as wide as serves; else serial().
// sums: whether teams add up sums in their scratch; vectors: how many vectors over channels the serial form keeps in its own.
// scratch_bytes: what either takes at least.
template <class S, class Serial, class InWords>
void launch_pass(const Stream& stream, const Pixels& pixels, int views, std::initializer_list<Tensor> activations, bool sums, int vectors,
                 const Serial& serial, const InWords& in_words, std::size_t scratch_bytes = 0) {
    using T = computed_t<S>;
    const auto launch = [&](const auto& kernel, RowLaunch shape) {
        shape.scratch_bytes = std::max(shape.scratch_bytes, scratch_bytes);
        for_each_row(stream, views * pixels.chunks, kernel, shape);
    };
    if (!has_teams(stream)) return launch(serial(), with_vectors<T>(vectors, pixels.channels));
    with_words<S>(activations, pixels.channels, [&](auto width) {
        launch(in_words(width), sums ? with_lane_sums<T, decltype(width)::value>(pixels.channels) : RowLaunch{.team_size = block});
    });
}

// launch_pass() of a pass that sums, with the merge of its sums.
template <class S, class Combined, class Finish, class Serial, class InWords>
void launch_sums(const Stream& stream, const Pixels& pixels, int views, std::initializer_list<Tensor> activations,
                 const BatchNormWorkspace& workspace, const Finish& finish, const Serial& serial, const InWords& in_words) {
    MLKD_CHECK(views <= batch_norm_most_groups && workspace.arrivals.elements() >= batch_norm_arrivals, "batch norm: too few counters");
    const auto merging = [&](const auto& pass) {
        return MergingPass<std::decay_t<decltype(pass)>, Combined, Finish>{pass, finish, ChunkGroups(pixels, views),
                                                                         workspace.group_sums.as<double>(),
                                                                         workspace.arrivals.as<std::int32_t>()};
    };
    launch_pass<S>(
        stream, pixels, views, activations, true, 2, [&] { return merging(serial()); },
        [&](auto width) { return merging(in_words(width)); },
        sizeof(TwoNumbers) * static_cast<std::size_t>(views * pixels.channels));
}

}  // namespace

Shape batch_norm_partials_shape(const Shape& x, int views) {
    const Pixels pixels = pixels_of(x, views);
    return {views, pixels.chunks, 2, x[3]};
}

Shape batch_norm_group_sums_shape(const Shape& x, int views) { return {ChunkGroups(pixels_of(x, views), views).count(), 2, x[3]}; }

void batch_norm_statistics(const Stream& stream, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& running_mean,
                           const Tensor& running_variance, const BatchNormWorkspace& workspace, const Tensor& x, int views,
                           int updates_per_view) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        T* const partials = workspace.partials.as<T>();
        launch_sums<S, CombinedMoments>(
            stream, pixels, views, {x}, workspace,
            FinishStatistics<T>{mean.as<T>(), inverse_deviation.as<T>(), running_mean.as<T>(), running_variance.as<T>(), pixels.per_view,
                                pixels.channels, views, updates_per_view},
            [&] { return StatisticsPartial<S>{partials, x.as<S>(), pixels}; },
            [&](auto width) { return StatisticsPartialVectors<S, decltype(width)::value>{partials, x.as<S>(), pixels}; });
    });
}

void batch_norm_apply(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation,
                      const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        const auto pass = [&](auto kernel) {
            kernel = {y.as<S>(),    x.as<S>(),      mean.as<T>(),   inverse_deviation.as<T>(),
                      gamma.as<T>(), beta.as<T>(), data_or_null<S>(residual), relu, pixels};
            return kernel;
        };
        launch_pass<S>(
            stream, pixels, views, {y, x, residual}, false, 2, [&] { return pass(Apply<S>{}); },
            [&](auto width) { return pass(ApplyVectors<S, decltype(width)::value>{}); });
    });
}

void batch_norm_backward_sums(const Stream& stream, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& mean_dz,
                              const Tensor& mean_dz_xhat, const BatchNormWorkspace& workspace, const Tensor& dL_dy, const Tensor& y,
                              const Tensor& x, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& gamma,
                              const Tensor& beta, bool added, bool relu, int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        const auto launch = [&](auto from_x) {
            launch_sums<S, CombinedSums>(
                stream, pixels, views, {dL_dy, y, x}, workspace,
                FinishBackwardSums<T>{dL_dgamma.as<T>(), dL_dbeta.as<T>(), mean_dz.as<T>(), mean_dz_xhat.as<T>(), pixels.per_view,
                                      pixels.channels, views},
                [&] {
                    return BackwardPartial<S>{workspace.partials.as<T>(), dL_dy.as<S>(), y.as<S>(), x.as<S>(), mean.as<T>(),
                                              inverse_deviation.as<T>(), relu, pixels};
                },
                [&](auto width) {
                    return BackwardPartialVectors<S, decltype(width)::value, decltype(from_x)::value>{
                        workspace.partials.as<T>(), dL_dy.as<S>(), y.as<S>(), x.as<S>(), mean.as<T>(), inverse_deviation.as<T>(),
                        gamma.as<T>(), beta.as<T>(), relu, pixels};
                });
        };
        if (relu && !added) return launch(std::true_type{});
        launch(std::false_type{});
    });
}

void batch_norm_backward_apply(const Stream& stream, const Tensor& dL_dx, const Tensor& dz, const Tensor& x, const Tensor& mean,
                               const Tensor& inverse_deviation, const Tensor& gamma, const Tensor& mean_dz, const Tensor& mean_dz_xhat,
                               int views) {
    const Pixels pixels = pixels_of(x.shape, views);
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        const auto pass = [&](auto kernel) {
            kernel = {dL_dx.as<S>(), dz.as<S>(), x.as<S>(), mean.as<T>(), inverse_deviation.as<T>(), gamma.as<T>(), mean_dz.as<T>(),
                      mean_dz_xhat.as<T>(), pixels};
            return kernel;
        };
        launch_pass<S>(
            stream, pixels, views, {dL_dx, dz, x}, false, 4, [&] { return pass(BackwardApply<S>{}); },
            [&](auto width) { return pass(BackwardApplyVectors<S, decltype(width)::value>{}); });
    });
}

void batch_norm_evaluate(const Stream& stream, const Tensor& y, const Tensor& x, const Tensor& running_mean, const Tensor& running_variance,
                         const Tensor& gamma, const Tensor& beta, const Tensor& residual, bool relu) {
    const int channels = static_cast<int>(x.dim(3));
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        using T = computed_t<S>;
        for_each_row(stream, x.dim(0) * x.dim(1),
                     Evaluate<S>{y.as<S>(), x.as<S>(), running_mean.as<T>(), running_variance.as<T>(), gamma.as<T>(), beta.as<T>(),
                                 residual.empty() ? nullptr : residual.as<S>(), relu, x.dim(2), channels},
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
