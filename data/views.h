#pragma once
// From dataset images to a network's input: crop, flip, augmentation, normalisation. Each row is one image, and what
// happens to it depends on (seed, epoch, index of the image, view) alone: not on its batch, the device or the threads.
#include <cstdint>

#include "engine/launch.h"
#include "engine/tensor.h"

namespace mlkd {

enum class View : std::uint8_t {
    plain,   // normalised only: evaluation
    weak,    // a crop of 32 × 32 from the image padded by 4 zeros on each side, flipped left to right half of the time
    strong,  // a crop and flip of its own, two operations of augment.h drawn with replacement, and a cutout
};

struct ViewParameters {
    View view = View::plain;
    std::uint64_t seed = 0;
    std::uint32_t epoch = 0;
};

// Where an epoch stands, in device memory: a recorded step reads it and finds another batch each time it is replayed.
struct EpochPosition {
    std::int64_t next;  // place in the epoch's order where the batch begins
    std::uint64_t seed;
    std::uint32_t epoch;
};

// out (B, 32, 32, 3) f32 or bf16; images (N, 32, 32, 3) u8; index (B) i64, each in [0, N); normalisation (3, 256) f32, see
// dataset.h. All on the stream's device. Throws Error where shapes do not fit.
void make_views(const Stream& stream, const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                const ViewParameters& parameters);

// The same for the images index[position->next], index[position->next + 1], ... with seed and epoch of `position`;
// index (at least position->next + B).
void make_views_at(const Stream& stream, const Tensor& out, const Tensor& images, const Tensor& index, const EpochPosition* position,
                   const Tensor& normalisation, View view);

// The same as make_views() on the calling thread alone, for the host's memory: for threads that work beside the network.
void make_views_on_this_thread(const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                               const ViewParameters& parameters);

}  // namespace mlkd
