#pragma once
// How the pixels of a tensor (N, H, W, C), its views one behind the other, are cut into the chunks that rows of batch norm's
// kernels work on.
#include <cstdint>

#include "engine/kernels/device_code.h"

namespace mlkd {

struct Pixels {
    std::int64_t per_view;
    std::int64_t chunk;   // pixels of a chunk; the last one of a view may be smaller
    std::int64_t chunks;  // of a view
    int channels;

    MLKD_HD std::int64_t first(std::int64_t row) const { return row / chunks * per_view + row % chunks * chunk; }
    MLKD_HD std::int64_t count(std::int64_t row) const { return count_of_chunk(row % chunks); }
    MLKD_HD std::int64_t count_of_chunk(std::int64_t number) const {
        const std::int64_t left = per_view - number * chunk;
        return left < chunk ? left : chunk;
    }
};

}  // namespace mlkd
