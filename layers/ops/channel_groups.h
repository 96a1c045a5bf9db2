#pragma once
// How a team of many members shares out the channels and pixels of a tensor (pixels, C): neighbouring members take neighbouring
// groups of V channels, each group loaded as one word, and `lanes` members take the pixels of a group in turn.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <type_traits>

#include "engine/kernels/launch.h"
#include "engine/tensor.h"

namespace mlkd {

// n neighbouring elements that are loaded and stored at once.
template <class S, int n> struct alignas(n * sizeof(S)) Packed {
    S element[n];
};

// Elements of a 16-byte word, the widest that a GPU loads.
template <class S> constexpr int widest = 16 / static_cast<int>(sizeof(S));

// A member's part:
//     for (int g = mine.first; g < mine.groups; g += mine.stride)
//         for (std::int64_t p = mine.lane; p < pixels; p += mine.lanes) ... channels V·g to V·g + V − 1 of pixel p
template <int V> struct ChannelGroups {
    int groups, lanes, lane, first, stride;

    template <class Team>
    MLKD_HD ChannelGroups(const Team& team, int channels)
        : groups(channels / V), lanes(1), lane(0), first(team.rank()), stride(team.size()) {
        if (team.size() <= groups) return;
        lanes = team.size() / groups;
        lane = team.rank() / groups;
        first = lane < lanes ? team.rank() % groups : groups;  // members beyond the last whole lane have nothing to do
        stride = groups;
    }
    // Of a team of `team_size` members, for the size of its scratch.
    static int lanes_of(int team_size, int channels) { return team_size <= channels / V ? 1 : team_size / (channels / V); }
};

constexpr int block = 256;  // members of a team on a GPU, where a pass over a tensor is concerned

// Whether words of `width` channels can be loaded from all of the tensors.
inline bool in_words(std::initializer_list<Tensor> tensors, std::int64_t channels, int width) {
    return channels % width == 0 && std::all_of(tensors.begin(), tensors.end(), [](const Tensor& tensor) {
               return reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0;
           });
}

// Calls use(std::integral_constant<int, V>) with the widest word of S that serves all of the tensors, else with one channel.
template <class S, class Use> void with_words(std::initializer_list<Tensor> tensors, std::int64_t channels, const Use& use) {
    if (in_words(tensors, channels, widest<S>)) return use(std::integral_constant<int, widest<S>>{});
    use(std::integral_constant<int, 1>{});
}

}  // namespace mlkd
