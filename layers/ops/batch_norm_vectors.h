#pragma once
// Batch norm's passes over a tensor as a thread block wants them: words of V channels a member, several pixels at once, sums of
// the pixels' lanes added up in fixed order. The forms for one thread a row, vectorised over channels, are in
// batch_norm_serial.h. V divides C, and the tensors of activations are aligned to V elements.
#include "engine/bfloat16.h"
#include "layers/ops/batch_norm_pixels.h"
#include "layers/ops/channel_groups.h"

namespace mlkd {

// V values of a vector over channels, from channel V·g on.
template <class T, int V> struct ChannelValues {
    T value[V];

    MLKD_HD ChannelValues() {
        for (int v = 0; v < V; ++v) value[v] = T{0};
    }
    MLKD_HD ChannelValues(const T* vector, int g) {
        for (int v = 0; v < V; ++v) value[v] = vector[V * g + v];
    }
    MLKD_HD void store(T* vector, int g) const {
        for (int v = 0; v < V; ++v) vector[V * g + v] = value[v];
    }
    MLKD_HD T& operator[](int v) { return value[v]; }
    MLKD_HD const T& operator[](int v) const { return value[v]; }
};

template <class S> MLKD_HD const computed_t<S> as_computed(const S& stored) { return static_cast<computed_t<S>>(stored); }

// The sums of two quantities a channel over the lanes, from scratch (lanes, 2, C): visit(c, sum, sum of the second).
template <class Team, class T, class Visit>
MLKD_HD void for_each_lane_sum(const Team& team, const T* scratch, int lanes, int channels, const Visit& visit) {
    for (int c = team.rank(); c < channels; c += team.size()) {
        T one = T{0}, two = T{0};
        for (int lane = 0; lane < lanes; ++lane) {
            one += scratch[2 * lane * channels + c];
            two += scratch[(2 * lane + 1) * channels + c];
        }
        visit(c, one, two);
    }
}

// What a chunk's lane sums become: the chunk's mean and sum of squared deviations.
template <class S> struct WriteStatistics {
    using T = computed_t<S>;
    T* out;           // (2, C)
    const S* origin;  // (C)
    T count;
    int channels;

    MLKD_HD void operator()(int c, T sum, T square) const {
        out[c] = as_computed(origin[c]) + sum / count;
        out[channels + c] = square - sum * sum / count;
    }
};

// Row: a chunk. Sums are taken around the chunk's first pixel, so that a large mean costs no digits.
template <class S, int V> struct StatisticsPartialVectors {
    using T = computed_t<S>;
    T* partials;  // (views, chunks, 2, C)
    const S* x;   // (views · per_view, C)
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const int C = pixels.channels;
        const ChannelGroups<V> mine(team, C);
        T* const scratch = team.template scratch<T>();  // (lanes, 2, C)
        const S* const origin = x + pixels.first(row) * C;
        const auto* const words = reinterpret_cast<const Packed<S, V>*>(origin);
        const auto count = static_cast<int>(pixels.count(row));
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            const Packed<S, V> first = words[g];
            ChannelValues<T, V> sum, square;
            // One word a pixel is little to wait for: several are under way at once.
            constexpr int ahead = 4;
            int p = mine.lane;
            for (; p + (ahead - 1) * mine.lanes < count; p += ahead * mine.lanes) {
                Packed<S, V> word[ahead];
                for (int i = 0; i < ahead; ++i) word[i] = words[(p + i * mine.lanes) * mine.groups + g];
                for (int i = 0; i < ahead; ++i) add(sum, square, word[i], first);
            }
            for (; p < count; p += mine.lanes) add(sum, square, words[p * mine.groups + g], first);
            sum.store(scratch + 2 * mine.lane * C, g);
            square.store(scratch + (2 * mine.lane + 1) * C, g);
        }
        team.sync();
        for_each_lane_sum(team, scratch, mine.lanes, C, WriteStatistics<S>{partials + row * 2 * C, origin, static_cast<T>(count), C});
    }

private:
    MLKD_HD static void add(ChannelValues<T, V>& sum, ChannelValues<T, V>& square, const Packed<S, V>& pixel, const Packed<S, V>& origin) {
        for (int v = 0; v < V; ++v) {
            const T shifted = as_computed(pixel.element[v]) - as_computed(origin.element[v]);
            sum[v] += shifted;
            square[v] += shifted * shifted;
        }
    }
};

// What is added to and cut off: the two passes that need it get the same bits.
template <class T> MLKD_HD T normalised(T x, T center, T scale, T shift) { return (x - center) * scale + shift; }

// gamma · inverse_deviation of group g.
template <class T, int V> MLKD_HD ChannelValues<T, V> scale_of(const T* gamma, const T* inverse_deviation, int g) {
    ChannelValues<T, V> scale(inverse_deviation, g);
    for (int v = 0; v < V; ++v) scale[v] *= gamma[V * g + v];
    return scale;
}

// Row: a chunk.
template <class S, int V> struct ApplyVectors {
    using T = computed_t<S>;
    S* y;
    const S* x;
    const T *mean, *inverse_deviation;  // (views, C)
    const T *gamma, *beta;              // (C)
    const S* residual;                  // like y, or nullptr
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        using Word = Packed<S, V>;
        const int C = pixels.channels;
        const ChannelGroups<V> mine(team, C);
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C;
        const auto count = static_cast<int>(pixels.count(row));
        const T floor = relu ? T{0} : static_cast<T>(-INFINITY);
        const auto* const in = reinterpret_cast<const Word*>(x + first);
        const auto* const shortcut = reinterpret_cast<const Word*>(residual + (residual != nullptr ? first : 0));
        auto* const out = reinterpret_cast<Word*>(y + first);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            const ChannelValues<T, V> center(mean + view * C, g), shift(beta, g);
            const ChannelValues<T, V> scale = scale_of<T, V>(gamma, inverse_deviation + view * C, g);
            for (int p = mine.lane; p < count; p += mine.lanes) {
                const int at = p * mine.groups + g;
                const Word word = in[at];
                Word added{};
                if (residual != nullptr) added = shortcut[at];
                Word result;
                for (int v = 0; v < V; ++v) {
                    T z = normalised(as_computed(word.element[v]), center[v], scale[v], shift[v]);
                    if (residual != nullptr) z += as_computed(added.element[v]);
                    result.element[v] = static_cast<S>(z < floor ? floor : z);  // a NaN passes on
                }
                out[at] = result;
            }
        }
    }
};

// What a chunk's lane sums become: the sums of dz and of dz · xhat.
template <class T> struct WriteBackwardSums {
    T* out;                      // (2, C)
    const T* inverse_deviation;  // (C)
    int channels;

    MLKD_HD void operator()(int c, T sum_dz, T sum_dz_x) const {
        out[c] = sum_dz;
        out[channels + c] = sum_dz_x * inverse_deviation[c];
    }
};

// Row: a chunk. Turns dL_dy into dz and sums dz and dz · (x − mean) a channel. from_x: where ReLU follows batch norm at once, y's
// sign is found again from x, and y is not read.
template <class S, int V, bool from_x> struct BackwardPartialVectors {
    using T = computed_t<S>;
    T* partials;                        // (views, chunks, 2, C)
    S* dL_dy;                           // becomes dz
    const S *y, *x;
    const T *mean, *inverse_deviation;  // (views, C)
    const T *gamma, *beta;              // (C)
    bool relu;
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        using Word = Packed<S, V>;
        using Values = ChannelValues<T, V>;
        const int C = pixels.channels;
        const ChannelGroups<V> mine(team, C);
        T* const scratch = team.template scratch<T>();  // (lanes, 2, C)
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C;
        const auto count = static_cast<int>(pixels.count(row));
        auto* const gradient = reinterpret_cast<Word*>(dL_dy + first);
        const auto* const output = reinterpret_cast<const Word*>(from_x ? x + first : y + first);
        const auto* const input = reinterpret_cast<const Word*>(x + first);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            const Values center(mean + view * C, g);
            const Values scale = from_x ? scale_of<T, V>(gamma, inverse_deviation + view * C, g) : Values();
            const Values shift = from_x ? Values(beta, g) : Values();
            Values sum_dz, sum_dz_x;
            // Two words a pixel are little to wait for: with them, two pixels are under way at once.
            constexpr int ahead = from_x ? 2 : 1;
            for (int p = mine.lane; p < count; p += ahead * mine.lanes) {
                Word dz[ahead], word[ahead], positive[ahead];
                for (int i = 0; i < ahead; ++i) {
                    const int pixel = p + i * mine.lanes, at = (pixel < count ? pixel : p) * mine.groups + g;
                    dz[i] = gradient[at];
                    word[i] = input[at];
                    if (relu && !from_x) positive[i] = output[at];
                }
                for (int i = 0; i < ahead && p + i * mine.lanes < count; ++i) {
                    if (relu) {
                        for (int v = 0; v < V; ++v) {
                            const T input_v = as_computed(word[i].element[v]);
                            if (from_x) positive[i].element[v] = static_cast<S>(normalised(input_v, center[v], scale[v], shift[v]));
                            dz[i].element[v] = kept_if(as_computed(positive[i].element[v]) > T{0}, dz[i].element[v]);
                        }
                        gradient[(p + i * mine.lanes) * mine.groups + g] = dz[i];
                    }
                    for (int v = 0; v < V; ++v) {
                        sum_dz[v] += as_computed(dz[i].element[v]);
                        sum_dz_x[v] += as_computed(dz[i].element[v]) * (as_computed(word[i].element[v]) - center[v]);
                    }
                }
            }
            sum_dz.store(scratch + 2 * mine.lane * C, g);
            sum_dz_x.store(scratch + (2 * mine.lane + 1) * C, g);
        }
        team.sync();
        for_each_lane_sum(team, scratch, mine.lanes, C, WriteBackwardSums<T>{partials + row * 2 * C, inverse_deviation + view * C, C});
    }
};

// Row: a chunk.
template <class S, int V> struct BackwardApplyVectors {
    using T = computed_t<S>;
    S* dL_dx;
    const S *dz, *x;
    const T *mean, *inverse_deviation;  // (views, C)
    const T* gamma;                     // (C)
    const T *mean_dz, *mean_dz_xhat;    // (views, C)
    Pixels pixels;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        using Word = Packed<S, V>;
        const int C = pixels.channels;
        const ChannelGroups<V> mine(team, C);
        const std::int64_t view = row / pixels.chunks, first = pixels.first(row) * C;
        const auto count = static_cast<int>(pixels.count(row));
        const auto* const gradient = reinterpret_cast<const Word*>(dz + first);
        const auto* const input = reinterpret_cast<const Word*>(x + first);
        auto* const out = reinterpret_cast<Word*>(dL_dx + first);
        for (int g = mine.first; g < mine.groups; g += mine.stride) {
            const ChannelValues<T, V> center(mean + view * C, g), offset(mean_dz + view * C, g);
            ChannelValues<T, V> scale(inverse_deviation + view * C, g), slope(mean_dz_xhat + view * C, g);
            for (int v = 0; v < V; ++v) {
                slope[v] *= scale[v];
                scale[v] *= gamma[V * g + v];
            }
            for (int p = mine.lane; p < count; p += mine.lanes) {
                const int at = p * mine.groups + g;
                const Word dz_word = gradient[at], x_word = input[at];
                Word result;
                for (int v = 0; v < V; ++v)
                    result.element[v] = static_cast<S>(
                        scale[v] * (as_computed(dz_word.element[v]) - offset[v] - (as_computed(x_word.element[v]) - center[v]) * slope[v]));
                out[at] = result;
            }
        }
    }
};

}  // namespace mlkd
