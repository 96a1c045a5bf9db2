#pragma once
// The kernel behind views.h: a team makes one view of one image.
#include <cstdint>

#include "data/augment_kernels.h"
#include "data/views.h"
#include "engine/philox.h"

namespace mlkd {

struct ViewScratch {
    AugmentScratch augment;
    std::uint8_t first[image_bytes];  // the image between operations
    std::uint8_t second[image_bytes];
};

// Which pixel of the image a pixel of the view comes from: a shift of up to 4 pixels each way, then a flip.
struct CropFlip {
    int shift_x, shift_y;
    bool flip;

    MLKD_HD static CropFlip draw(RandomSequence& random) {
        constexpr int padding = 4;
        const int x = static_cast<int>(random.below(2 * padding + 1)) - padding;
        const int y = static_cast<int>(random.below(2 * padding + 1)) - padding;
        return {x, y, random.below(2) == 1};
    }
    // The source of pixel (x, y), or nullptr for the padding.
    MLKD_HD const std::uint8_t* source(const std::uint8_t* image, int x, int y) const {
        const int from_x = (flip ? image_side - 1 - x : x) + shift_x, from_y = y + shift_y;
        const bool inside = from_x >= 0 && from_x < image_side && from_y >= 0 && from_y < image_side;
        return inside ? image + image_channels * (from_y * image_side + from_x) : nullptr;
    }
};

struct DrawnOperation {
    AugmentOp op;
    float magnitude;

    MLKD_HD static float draw_magnitude(RandomSequence& random, AugmentOp op) {
        const MagnitudeRange range = magnitude_range(op);
        return range.low + (range.high - range.low) * random.uniform();
    }
    MLKD_HD static DrawnOperation draw(RandomSequence& random) {
        const auto op = static_cast<AugmentOp>(random.below(random_operations));
        return {op, draw_magnitude(random, op)};
    }
};

MLKD_HD inline Rectangle draw_cutout(RandomSequence& random) {
    const float magnitude = DrawnOperation::draw_magnitude(random, AugmentOp::cutout);
    const float centre_x = image_side * random.uniform();
    const float centre_y = image_side * random.uniform();
    return cutout_rectangle(magnitude, centre_x, centre_y);
}

// T: float or bfloat16, rounded once from the normalised float.
template <class T> struct ViewKernel {
    T* out;                         // (B, 32, 32, 3)
    const std::uint8_t* images;     // (N, 32, 32, 3)
    const std::int64_t* index;      // (B), or from position->next on
    const float* normalisation;     // (3, 256)
    ViewParameters parameters;
    const EpochPosition* position;  // nullptr: seed and epoch of the parameters, and the whole index

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t number = position != nullptr ? index[position->next + row] : index[row];
        const std::uint32_t epoch = position != nullptr ? position->epoch : parameters.epoch;
        const std::uint64_t seed = position != nullptr ? position->seed : parameters.seed;
        const std::uint8_t* image = images + number * image_bytes;
        T* to = out + row * image_bytes;
        const auto sample = static_cast<std::uint32_t>(number);
        if (parameters.view == View::plain) {
            for (int i = team.rank(); i < image_pixels; i += team.size()) normalise(to + 3 * i, image + 3 * i);
        } else if (parameters.view == View::weak) {
            RandomSequence random(seed, Purpose::weak_view, epoch, sample);
            make_weak(team, to, image, CropFlip::draw(random));
        } else {
            RandomSequence random(seed, Purpose::strong_view, epoch, sample);
            make_strong(team, to, image, random);
        }
    }

private:
    MLKD_HD void normalise(T* to, const std::uint8_t* pixel) const {
        to[0] = static_cast<T>(normalisation[pixel[0]]);
        to[1] = static_cast<T>(normalisation[256 + pixel[1]]);
        to[2] = static_cast<T>(normalisation[512 + pixel[2]]);
    }

    template <class Team> MLKD_HD void make_weak(const Team& team, T* to, const std::uint8_t* image, const CropFlip& crop) const {
        const std::uint8_t black[image_channels] = {0, 0, 0};
        for (int i = team.rank(); i < image_pixels; i += team.size()) {
            const std::uint8_t* source = crop.source(image, i % image_side, i / image_side);
            normalise(to + 3 * i, source != nullptr ? source : black);
        }
    }

    template <class Team> MLKD_HD void make_strong(const Team& team, T* to, const std::uint8_t* image, RandomSequence& random) const {
        ViewScratch& scratch = *team.template scratch<ViewScratch>();
        const CropFlip crop = CropFlip::draw(random);
        const DrawnOperation one = DrawnOperation::draw(random);
        const DrawnOperation two = DrawnOperation::draw(random);
        const Rectangle hole = draw_cutout(random);

        for (int i = team.rank(); i < image_pixels; i += team.size()) {
            const std::uint8_t* source = crop.source(image, i % image_side, i / image_side);
            for (int channel = 0; channel < image_channels; ++channel)
                scratch.first[3 * i + channel] = source != nullptr ? source[channel] : std::uint8_t{0};
        }
        team.sync();
        apply_operation(team, scratch.second, scratch.first, one.op, one.magnitude, 0, 0, scratch.augment);
        team.sync();
        apply_operation(team, scratch.first, scratch.second, two.op, two.magnitude, 0, 0, scratch.augment);
        team.sync();
        const CutoutColour colour;
        for (int i = team.rank(); i < image_pixels; i += team.size())
            normalise(to + 3 * i, hole.holds(i % image_side, i / image_side) ? colour.channel : scratch.first + 3 * i);
    }
};

}  // namespace mlkd
