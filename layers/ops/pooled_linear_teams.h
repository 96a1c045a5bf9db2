#pragma once
// The head for teams of many members: average pooling and linear layer in one launch forward, all gradients in one launch backward.
// A launch with so little work mostly waits for memory, so loads are words, and several of them are under way at once.
#include <cstddef>
#include <cstdint>

#include "engine/bfloat16.h"
#include "layers/ops/channel_groups.h"

namespace mlkd {

// V: channels of a word of x, 1 or widest<S>.
template <class S, int V> struct HeadWords {
    using T = computed_t<S>;
    static constexpr int parameters = V > 1 ? widest<T> : 1;  // channels of a word of weights and means
    using Parameters = Packed<T, parameters>;
    static constexpr int tile = 4;  // outputs that share a load of the other factor
};

// scratch[c] = Σ over lanes of scratch[lane · channels + c], in order, / divisor. Every member sees all of it afterwards.
template <class T, class Team> MLKD_HD void sum_lanes(const Team& team, T* scratch, int lanes, int channels, T divisor) {
    team.sync();
    for (int c = team.rank(); c < channels; c += team.size()) {
        T sum = T{0};
        for (int lane = 0; lane < lanes; ++lane) sum += scratch[lane * channels + c];
        scratch[c] = sum / divisor;
    }
    team.sync();
}

// Row: an image.
template <class S, int V> struct PooledLinearForward {
    using Words = HeadWords<S, V>;
    using T = typename Words::T;
    T* logits;        // (N, O)
    T* pooled;        // (N, C)
    const S* x;       // (N, pixels, C)
    const T* weight;  // (O, C)
    const T* bias;    // (O)
    std::int64_t pixels;
    int channels, outputs;

    static std::size_t scratch_bytes(int team_size, int channels) {
        return static_cast<std::size_t>(ChannelGroups<V>::lanes_of(team_size, channels)) * static_cast<std::size_t>(channels) * sizeof(T);
    }

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t n) const {
        T* const mean = team.template scratch<T>();  // first (lanes, C), then (C)
        pool(team, mean, x + n * pixels * channels);
        for (int c = team.rank(); c < channels; c += team.size()) pooled[n * channels + c] = mean[c];

        const auto part = team.part();
        for (int first = Words::tile * team.part_index(); first < outputs; first += Words::tile * team.part_count())
            multiply(part, logits + n * outputs, mean, first);
    }

private:
    template <class Team> MLKD_HD void pool(const Team& team, T* mean, const S* image) const {
        const ChannelGroups<V> mine(team, channels);
        const auto* const words = reinterpret_cast<const Packed<S, V>*>(image);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            T sum[V] = {};
            for (std::int64_t p = mine.lane; p < pixels; p += mine.lanes) {
                const Packed<S, V> word = words[p * mine.groups + g];
                for (int v = 0; v < V; ++v) sum[v] += static_cast<T>(word.element[v]);
            }
            for (int v = 0; v < V; ++v) mean[mine.lane * channels + V * g + v] = sum[v];
        }
        sum_lanes(team, mean, mine.lanes, channels, static_cast<T>(pixels));
    }

    // `tile` outputs by a part of the team.
    template <class Part> MLKD_HD void multiply(const Part& part, T* to, const T* mean, int first) const {
        constexpr int W = Words::parameters;
        const int groups = channels / W;
        const auto* const weights = reinterpret_cast<const typename Words::Parameters*>(weight);
        const auto* const means = reinterpret_cast<const typename Words::Parameters*>(mean);
        T sum[Words::tile] = {};
        for (int g = part.rank(); g < groups; g += part.size()) {
            typename Words::Parameters word[Words::tile];
            for (int q = 0; q < Words::tile; ++q) {
                const int output = first + q < outputs ? first + q : first;
                word[q] = weights[static_cast<std::int64_t>(output) * groups + g];
            }
            const typename Words::Parameters factor = means[g];
            for (int q = 0; q < Words::tile; ++q)
                for (int w = 0; w < W; ++w) sum[q] += word[q].element[w] * factor.element[w];
        }
        for (int q = 0; q < Words::tile; ++q) {
            const T total = part.sum(sum[q]);
            if (part.rank() == 0 && first + q < outputs) to[first + q] = total + bias[first + q];
        }
    }
};

// Rows: the images, for dL/dx; then every `tile` outputs, for dL/dweight and dL/dbias.
template <class S, int V> struct PooledLinearBackward {
    using Words = HeadWords<S, V>;
    using T = typename Words::T;
    static constexpr int W = Words::parameters;
    static constexpr int tile = Words::tile;
    S* dL_dx;             // (N, pixels, C)
    T* dL_dweight;        // (O, C)
    T* dL_dbias;          // (O)
    const T* dL_dlogits;  // (N, O)
    const T* pooled;      // (N, C)
    const T* weight;      // (O, C)
    std::int64_t pixels;
    int images, channels, outputs;

    static std::size_t scratch_bytes(int team_size, int channels) {
        return static_cast<std::size_t>(ChannelGroups<W>::lanes_of(team_size, channels) * tile) * static_cast<std::size_t>(channels) *
               sizeof(T);
    }
    std::int64_t rows() const { return images + (outputs + tile - 1) / tile; }

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        if (row < images)
            image_row(team, row);
        else
            outputs_row(team, static_cast<int>(row - images) * tile);
    }

private:
    // dL/dpooled (C) = Σ over outputs of dL/dlogits · weight; every pixel gets its share.
    template <class Team> MLKD_HD void image_row(const Team& team, std::int64_t n) const {
        T* const share = team.template scratch<T>();  // first (lanes, C), then (C)
        const ChannelGroups<W> mine(team, channels);
        const auto* const weights = reinterpret_cast<const typename Words::Parameters*>(weight);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            T sum[W] = {};
            for (int o = mine.lane; o < outputs; o += mine.lanes) {
                const typename Words::Parameters word = weights[static_cast<std::int64_t>(o) * mine.groups + g];
                const T factor = dL_dlogits[n * outputs + o];
                for (int w = 0; w < W; ++w) sum[w] += factor * word.element[w];
            }
            for (int w = 0; w < W; ++w) share[mine.lane * channels + W * g + w] = sum[w];
        }
        sum_lanes(team, share, mine.lanes, channels, static_cast<T>(pixels));

        const ChannelGroups<V> written(team, channels);
        auto* const words = reinterpret_cast<Packed<S, V>*>(dL_dx + n * pixels * channels);
        for (int g = written.first; g < written.groups; g += written.stride) {
            Packed<S, V> word;
            for (int v = 0; v < V; ++v) word.element[v] = static_cast<S>(share[V * g + v]);
            for (std::int64_t p = written.lane; p < pixels; p += written.lanes) words[p * written.groups + g] = word;
        }
    }

    // Sums over the images of dL/dlogits · pooled, and of dL/dlogits.
    template <class Team> MLKD_HD void outputs_row(const Team& team, int first) const {
        int output[tile];  // the last one again where there are fewer
        for (int q = 0; q < tile; ++q) output[q] = first + q < outputs ? first + q : outputs - 1;
        const auto part = team.part();
        for (int q = team.part_index(); q < tile && first + q < outputs; q += team.part_count()) {
            T sum = T{0};
            for (int n = part.rank(); n < images; n += part.size()) sum += dL_dlogits[static_cast<std::int64_t>(n) * outputs + first + q];
            sum = part.sum(sum);
            if (part.rank() == 0) dL_dbias[first + q] = sum;
        }

        T* const sums = team.template scratch<T>();  // (lanes, tile, C)
        const ChannelGroups<W> mine(team, channels);
        const auto* const means = reinterpret_cast<const typename Words::Parameters*>(pooled);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            T sum[tile][W] = {};
            for (int n = mine.lane; n < images; n += mine.lanes) {
                const typename Words::Parameters word = means[static_cast<std::int64_t>(n) * mine.groups + g];
                for (int q = 0; q < tile; ++q) {
                    const T factor = dL_dlogits[static_cast<std::int64_t>(n) * outputs + output[q]];
                    for (int w = 0; w < W; ++w) sum[q][w] += factor * word.element[w];
                }
            }
            for (int q = 0; q < tile; ++q)
                for (int w = 0; w < W; ++w) sums[(mine.lane * tile + q) * channels + W * g + w] = sum[q][w];
        }
        team.sync();
        const int width = outputs - first < tile ? outputs - first : tile;
        for (int e = team.rank(); e < width * channels; e += team.size()) {
            T sum = T{0};
            for (int lane = 0; lane < mine.lanes; ++lane) sum += sums[lane * tile * channels + e];
            dL_dweight[static_cast<std::int64_t>(first) * channels + e] = sum;
        }
    }
};

}  // namespace mlkd
