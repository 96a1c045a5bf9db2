#pragma once
// The kernels behind views.h: a team makes one view of one image.
#include <cstdint>

#include "data/views/augment_kernels.h"
#include "data/views/views.h"
#include "engine/kernels/arrival.h"
#include "engine/kernels/philox.h"

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

// Makes one view of one image. T: float or bfloat16, rounded once from the normalised float.
template <class T> struct ViewMaker {
    const std::uint8_t* images;  // (N, 32, 32, 3)
    const float* normalisation;  // (3, 256)

    template <class Team> MLKD_HD void operator()(const Team& team, T* to, std::int64_t number, const ViewParameters& parameters) const {
        const std::uint8_t* image = images + number * image_bytes;
        const auto sample = static_cast<std::uint32_t>(number);
        if (parameters.view == View::plain) {
            for (int i = team.rank(); i < image_pixels; i += team.size()) normalise(to + 3 * i, image + 3 * i);
        } else if (parameters.view == View::weak) {
            RandomSequence random(parameters.seed, Purpose::weak_view, parameters.epoch, sample);
            make_weak(team, to, image, CropFlip::draw(random));
        } else {
            RandomSequence random(parameters.seed, Purpose::strong_view, parameters.epoch, sample);
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
        for (int i = team.rank(); i < image_pixels; i += team.size()) {
            const std::uint8_t* source = crop.source(image, i % image_side, i / image_side);
            for (int channel = 0; channel < image_channels; ++channel)
                scratch.first[3 * i + channel] = source != nullptr ? source[channel] : std::uint8_t{0};
        }
        team.sync();
        std::uint8_t *from = scratch.first, *other = scratch.second;
        MLKD_ROLLED  // all operations' code once
        for (int operation = 0; operation < 2; ++operation) {
            const DrawnOperation drawn = DrawnOperation::draw(random);
            apply_operation(team, other, from, drawn.op, drawn.magnitude, 0, 0, scratch.augment);
            team.sync();
            std::uint8_t* const written = other;
            other = from;
            from = written;
        }
        const Rectangle hole = draw_cutout(random);
        const CutoutColour colour;
        for (int i = team.rank(); i < image_pixels; i += team.size())
            normalise(to + 3 * i, hole.holds(i % image_side, i / image_side) ? colour.channel : from + 3 * i);
    }
};

// Row: an image of `index`.
template <class T> struct ViewKernel {
    T* out;                      // (B, 32, 32, 3)
    ViewMaker<T> make;
    const std::int64_t* index;   // (B)
    ViewParameters parameters;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        make(team, out + row * image_bytes, index[row], parameters);
    }
};

// All views of the epoch's next batch, and its labels; the row that is done last moves the place on, when all have read it.
// Row: a view of an image.
template <class T> struct BatchKernel {
    T* out;                      // (V·B, 32, 32, 3)
    std::int32_t* target;        // (B)
    ViewMaker<T> make;
    const std::int32_t* labels;  // (N)
    const std::int64_t* order;   // (N)
    EpochPosition* position;
    std::int64_t rows, size;     // V·B, B
    bool augment;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const std::int64_t first = position->next, number = order[first + row % size];
        const View view = !augment ? View::plain : row < size ? View::weak : View::strong;
        make(team, out + row * image_bytes, number, {view, position->seed, position->epoch});
        if (team.rank() == 0 && row < size) target[row] = labels[number];
        if (!arrive(team, &position->rows_done, static_cast<int>(rows)) || team.rank() > 0) return;
        position->next = first + size;
        position->rows_done = 0;
    }
};

}  // namespace mlkd
