#include "layers/head_kernels.h"

#include "engine/dispatch.h"
#include "layers/channel_groups.h"

namespace mlkd {
namespace {

template <class S> struct MeanOverPixels {
    using T = computed_t<S>;
    T* pooled;   // (N, C)
    const S* x;  // (N, pixels, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t c = team.rank(); c < channels; c += team.size()) {
            T sum = T{0};
            for (std::int64_t p = 0; p < pixels; ++p) sum += static_cast<T>(x[(n * pixels + p) * channels + c]);
            pooled[n * channels + c] = sum / static_cast<T>(pixels);
        }
    }
};

// The same by a team of many members: words of V channels, several pixels at once.
template <class S, int V> struct MeanOverPixelsVectors {
    using T = computed_t<S>;
    T* pooled;   // (N, C)
    const S* x;  // (N, pixels, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        const ChannelGroups<V> mine(team, static_cast<int>(channels));
        T* const scratch = team.template scratch<T>();  // (lanes, C)
        const auto* const words = reinterpret_cast<const Packed<S, V>*>(x + n * pixels * channels);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            T sum[V] = {};
            for (std::int64_t p = mine.lane; p < pixels; p += mine.lanes) {
                const Packed<S, V> word = words[p * mine.groups + g];
                for (int v = 0; v < V; ++v) sum[v] += static_cast<T>(word.element[v]);
            }
            for (int v = 0; v < V; ++v) scratch[mine.lane * channels + V * g + v] = sum[v];
        }
        team.sync();
        for (std::int64_t c = team.rank(); c < channels; c += team.size()) {
            T sum = T{0};
            for (int lane = 0; lane < mine.lanes; ++lane) sum += scratch[lane * channels + c];
            pooled[n * channels + c] = sum / static_cast<T>(pixels);
        }
    }
};

template <class S> struct MeanOverPixelsBackward {
    using T = computed_t<S>;
    S* dL_dx;             // (N, pixels, C)
    const T* dL_dpooled;  // (N, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        for (std::int64_t p = 0; p < pixels; ++p)
            for (std::int64_t c = team.rank(); c < channels; c += team.size())
                dL_dx[(n * pixels + p) * channels + c] = static_cast<S>(dL_dpooled[n * channels + c] / static_cast<T>(pixels));
    }
};

// The same by a team of many members, words of V channels.
template <class S, int V> struct MeanOverPixelsBackwardVectors {
    using T = computed_t<S>;
    S* dL_dx;             // (N, pixels, C)
    const T* dL_dpooled;  // (N, C)
    std::int64_t pixels, channels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        const ChannelGroups<V> mine(team, static_cast<int>(channels));
        auto* const words = reinterpret_cast<Packed<S, V>*>(dL_dx + n * pixels * channels);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            Packed<S, V> word;
            for (int v = 0; v < V; ++v) word.element[v] = static_cast<S>(dL_dpooled[n * channels + V * g + v] / static_cast<T>(pixels));
            for (std::int64_t p = mine.lane; p < pixels; p += mine.lanes) words[p * mine.groups + g] = word;
        }
    }
};

template <class T> struct AddBias {
    T* y;           // (N, O)
    const T* bias;  // (O)
    std::int64_t outputs;

    MLKD_HD void operator()(std::int64_t i) const { y[i] += bias[i % outputs]; }
};

// Row: a few outputs.
template <class T> struct SumOverBatch {
    static constexpr int outputs_of_row = 16;
    T* sum;      // (O)
    const T* y;  // (N, O)
    std::int64_t batch, outputs;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t first = row * outputs_of_row, left = outputs - first;
        const int width = left < outputs_of_row ? static_cast<int>(left) : outputs_of_row;
        sum_columns(
            team, team.template scratch<T>(), width, batch, [&](std::int64_t n, int o) { return y[n * outputs + first + o]; },
            [&](int o, T total) { sum[first + o] = total; });
    }
};

}  // namespace

void mean_over_pixels(const Stream& stream, const Tensor& pooled, const Tensor& x) {
    with_stored_type(x.dtype, [&](auto zero) {
        using S = decltype(zero);
        if (!has_teams(stream))
            return for_each_row(stream, x.dim(0), MeanOverPixels<S>{pooled.as<computed_t<S>>(), x.as<S>(), x.dim(1) * x.dim(2), x.dim(3)});
        with_words<S>({x}, x.dim(3), [&](auto width) {
            constexpr int V = decltype(width)::value;
            const int channels = static_cast<int>(x.dim(3));
            const auto lanes = static_cast<std::size_t>(ChannelGroups<V>::lanes_of(block, channels));
            for_each_row(stream, x.dim(0),
                         MeanOverPixelsVectors<S, V>{pooled.as<computed_t<S>>(), x.as<S>(), x.dim(1) * x.dim(2), x.dim(3)},
                         {.scratch_bytes = lanes * static_cast<std::size_t>(channels) * sizeof(computed_t<S>), .team_size = block});
        });
    });
}

void mean_over_pixels_backward(const Stream& stream, const Tensor& dL_dx, const Tensor& dL_dpooled) {
    with_stored_type(dL_dx.dtype, [&](auto zero) {
        using S = decltype(zero);
        const std::int64_t pixels = dL_dx.dim(1) * dL_dx.dim(2), channels = dL_dx.dim(3);
        const auto* const from = dL_dpooled.as<computed_t<S>>();
        if (!has_teams(stream)) return for_each_row(stream, dL_dx.dim(0), MeanOverPixelsBackward<S>{dL_dx.as<S>(), from, pixels, channels});
        with_words<S>({dL_dx}, channels, [&](auto width) {
            using Kernel = MeanOverPixelsBackwardVectors<S, decltype(width)::value>;
            for_each_row(stream, dL_dx.dim(0), Kernel{dL_dx.as<S>(), from, pixels, channels}, {.team_size = block});
        });
    });
}

void add_bias(const Stream& stream, const Tensor& y, const Tensor& bias) {
    with_real_type(y.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, y.elements(), AddBias<T>{y.as<T>(), bias.as<T>(), bias.elements()});
    });
}

void sum_over_batch(const Stream& stream, const Tensor& sum, const Tensor& y) {
    with_real_type(y.dtype, [&](auto zero) {
        using T = decltype(zero);
        constexpr int width = SumOverBatch<T>::outputs_of_row;
        for_each_row(stream, (sum.elements() + width - 1) / width, SumOverBatch<T>{sum.as<T>(), y.as<T>(), y.dim(0), y.dim(1)},
                     {.scratch_bytes = column_scratch(block, width) * sizeof(T), .team_size = block});
    });
}

}  // namespace mlkd
