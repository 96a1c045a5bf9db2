#pragma once
// From dataset images to a network's input: crop, flip, augmentation, normalisation. Each row is one image, and what
// happens to it depends on (seed, epoch, index of the image, view) alone: not on its batch, the device or the threads.
#include <cstdint>

#include "engine/kernels/launch.h"
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

// out (B, 32, 32, 3) f32 or bf16; images (N, 32, 32, 3) u8; index (B) i64, each in [0, N); normalisation (3, 256) f32, see
// dataset.h. All on the stream's device. Throws Error where shapes do not fit.
void make_views(const Stream& stream, const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                const ViewParameters& parameters);

// The same as make_views() on the calling thread alone, for the host's memory: for threads that work beside the network.
void make_views_on_this_thread(const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                               const ViewParameters& parameters);

// Where an epoch stands, in device memory: a recorded step reads it and finds another batch each time it is replayed.
struct EpochPosition {
    std::int64_t next;  // place in the epoch's order where the batch begins
    std::uint64_t seed;
    std::uint32_t epoch;
    int rows_done = 0;  // of the launch that makes a batch; 0 between launches
};

// A dataset on the device, and an epoch of it.
struct EpochOnDevice {
    Tensor images;         // (N, 32, 32, 3) u8
    Tensor labels;         // (N) i32
    Tensor order;          // (N) i64, each in [0, N)
    Tensor normalisation;  // (3, 256) f32
    EpochPosition* position;
};

// The epoch's next batch in one launch: out (V·B, 32, 32, 3) f32 or bf16, the weak view and then the strong one of the images
// order[next] … order[next + B − 1], or plain ones without `augment`; target (B) i32, their labels. Then the place has moved on by B.
// Throws Error where shapes do not fit.
void make_batch(const Stream& stream, const Tensor& out, const Tensor& target, const EpochOnDevice& epoch, bool augment);

}  // namespace mlkd
