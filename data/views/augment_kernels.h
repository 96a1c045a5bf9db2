#pragma once
// The augmentations of augment.h as Team code: a team transforms one image (32, 32, 3) of bytes.
//
// The rules here are Pillow 9.4's: which products are rounded, where a value is truncated, which copies happen at a
// border. They need arithmetic without fused multiply-add (data/CMakeLists.txt).
//
// Every function reads `in` (which all members see complete), writes `out`, and ends with each member's own writes
// done: the caller calls team.sync() before anyone reads `out` or uses the scratch again.
#include <cmath>
#include <cstdint>

#include "data/image.h"
#include "data/views/augment.h"
#include "engine/kernels/team.h"

namespace mlkd {

// What an operation needs beside its two images.
struct AugmentScratch {
    static constexpr int max_parts = 16;  // of the pixels of an image, counted apart by equalize
    static constexpr int max_runs = 32;   // of the byte values, summed apart by equalize; a power of 2
    std::uint8_t table[image_channels * 256];
    std::uint16_t counts[image_channels * max_parts][256];
    std::uint16_t run_sums[image_channels * max_runs];
};

// out[i] = table[channel of i][in[i]].
template <class Team>
MLKD_HD void apply_table(const Team& team, std::uint8_t* out, const std::uint8_t* in, const std::uint8_t* table) {
    for (int i = team.rank(); i < image_pixels; i += team.size()) {
        out[3 * i] = table[in[3 * i]];
        out[3 * i + 1] = table[256 + in[3 * i + 1]];
        out[3 * i + 2] = table[512 + in[3 * i + 2]];
    }
}

// The table of value(v) for each byte value v, the same for the three channels.
template <class Team, class Value> MLKD_HD void fill_table(const Team& team, AugmentScratch& scratch, const Value& value) {
    MLKD_ROLLED
    for (int v = team.rank(); v < 256; v += team.size()) scratch.table[v] = scratch.table[256 + v] = scratch.table[512 + v] = value(v);
}

template <class Team> MLKD_HD void copy_image(const Team& team, std::uint8_t* out, const std::uint8_t* in) {
    for (int i = team.rank(); i < image_bytes; i += team.size()) out[i] = in[i];
}

// --- geometry ------------------------------------------------------------------------------------------------------

// Output pixel (x, y) comes from input pixel (⌊(x0 + x·xx + y·xy) / 2¹⁶⌋, ⌊(y0 + x·yx + y·yy) / 2¹⁶⌋), or is 0 where that
// is outside.
struct FixedAffine {
    int x0, xx, xy, y0, yx, yy;
};

MLKD_HD inline int to_fixed(double v) { return static_cast<int>(std::floor(v * 65536.0 + 0.5)); }

// Pillow's nearest-neighbour transform for a matrix (a, b, c; d, e, f) with b or d not 0: pixel centres in 16.16.
MLKD_HD inline FixedAffine fixed_affine(double a, double b, double c, double d, double e, double f) {
    return {to_fixed(c + a * 0.5 + b * 0.5), to_fixed(a), to_fixed(b), to_fixed(f + d * 0.5 + e * 0.5), to_fixed(d), to_fixed(e)};
}

// A shift by (x, y) pixels. Pillow walks pixel centres in double here and truncates: whole pixels in effect.
MLKD_HD inline FixedAffine shift_affine(double x, double y) {
    return {static_cast<int>(std::floor(x + 0.5)) * 65536, 65536, 0, static_cast<int>(std::floor(y + 0.5)) * 65536, 0, 65536};
}

// Counter-clockwise by `degrees` about the centre; sine and cosine rounded to 15 decimals, as Pillow does.
MLKD_HD inline FixedAffine rotation_affine(double degrees) {
    constexpr double pi = 3.14159265358979323846;
    const double turned = degrees < 0 ? degrees + 360.0 : degrees;
    const double angle = -(turned * (pi / 180.0));
    const double cosine = std::rint(std::cos(angle) * 1e15) / 1e15;
    const double sine = std::rint(std::sin(angle) * 1e15) / 1e15;
    constexpr double centre = image_side / 2.0;
    return fixed_affine(cosine, sine, cosine * -centre + sine * -centre + centre,  //
                        -sine, cosine, -sine * -centre + cosine * -centre + centre);
}

template <class Team>
MLKD_HD void transform_image(const Team& team, std::uint8_t* out, const std::uint8_t* in, const FixedAffine& affine) {
    for (int i = team.rank(); i < image_pixels; i += team.size()) {
        const int x = i % image_side, y = i / image_side;
        const int from_x = (affine.x0 + x * affine.xx + y * affine.xy) >> 16;
        const int from_y = (affine.y0 + x * affine.yx + y * affine.yy) >> 16;
        const bool inside = from_x >= 0 && from_x < image_side && from_y >= 0 && from_y < image_side;
        const std::uint8_t* pixel = in + (inside ? image_channels * (from_y * image_side + from_x) : 0);
        out[3 * i] = inside ? pixel[0] : std::uint8_t{0};
        out[3 * i + 1] = inside ? pixel[1] : std::uint8_t{0};
        out[3 * i + 2] = inside ? pixel[2] : std::uint8_t{0};
    }
}

// --- blends: degenerate + magnitude · (image - degenerate) in float, truncated -----------------------------------------

MLKD_HD inline std::uint8_t blend(int degenerate, int image, float share) {
    return static_cast<std::uint8_t>(static_cast<int>(static_cast<float>(degenerate) + share * static_cast<float>(image - degenerate)));
}

// ITU-R 601 luma of a pixel in 16-bit fixed point.
MLKD_HD inline int luma(const std::uint8_t* pixel) {
    return (pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16;
}

template <class Team> MLKD_HD void change_color(const Team& team, std::uint8_t* out, const std::uint8_t* in, float share) {
    for (int i = team.rank(); i < image_pixels; i += team.size()) {
        const int grey = luma(in + 3 * i);
        out[3 * i] = blend(grey, in[3 * i], share);
        out[3 * i + 1] = blend(grey, in[3 * i + 1], share);
        out[3 * i + 2] = blend(grey, in[3 * i + 2], share);
    }
}

struct BlendValue {
    int degenerate;
    float share;
    MLKD_HD std::uint8_t operator()(int value) const { return blend(degenerate, value, share); }
};

// What contrast blends with: the image's mean luma, rounded.
template <class Team> MLKD_HD int mean_luma(const Team& team, const std::uint8_t* in) {
    int sum = 0;
    for (int i = team.rank(); i < image_pixels; i += team.size()) sum += luma(in + 3 * i);
    return (team.sum(sum) + image_pixels / 2) / image_pixels;
}

// The degenerate image is smoothed by (1 1 1; 1 5 1; 1 1 1) / 13, rounded; the border stays as it is. A sum over 13 is
// never half-way between two integers, so whole numbers give what Pillow's floats give.
template <class Team> MLKD_HD void change_sharpness(const Team& team, std::uint8_t* out, const std::uint8_t* in, float share) {
    constexpr int line = image_side * image_channels;
    constexpr int inner = line - 2 * image_channels;  // bytes of a line without its border pixels
    for (int i = team.rank(); i < line; i += team.size()) {
        out[i] = in[i];
        out[image_bytes - line + i] = in[image_bytes - line + i];
    }
    for (int i = team.rank(); i < (image_side - 2) * 2 * image_channels; i += team.size()) {
        const int y = 1 + i / (2 * image_channels), column = i % (2 * image_channels);
        const int at = y * line + (column < image_channels ? column : column + inner);
        out[at] = in[at];
    }
    for (int y = 1; y < image_side - 1; ++y) {
        const std::uint8_t* from = in + y * line + image_channels;
        std::uint8_t* to = out + y * line + image_channels;
        for (int i = team.rank(); i < inner; i += team.size()) {
            const int sum = from[i - line - 3] + from[i - line] + from[i - line + 3] + from[i - 3] + 5 * from[i] + from[i + 3] +
                            from[i + line - 3] + from[i + line] + from[i + line + 3];
            to[i] = blend((2 * sum + 13) / 26, from[i], share);
        }
    }
}

// --- histograms ------------------------------------------------------------------------------------------------------

// The table that stretches each channel to 0..255: v → trunc(v·scale - low·scale), scale = 255 / (high - low), in double.
template <class Team> MLKD_HD void autocontrast_table(const Team& team, const std::uint8_t* in, AugmentScratch& scratch) {
    int highest[3] = {0, 0, 0}, lowest_inverted[3] = {0, 0, 0};  // 255 - value: one reduction, max, serves both
    for (int i = team.rank(); i < image_pixels; i += team.size())
        for (int channel = 0; channel < 3; ++channel) {
            const int value = in[3 * i + channel], inverted = 255 - value;
            highest[channel] = value > highest[channel] ? value : highest[channel];
            lowest_inverted[channel] = inverted > lowest_inverted[channel] ? inverted : lowest_inverted[channel];
        }
    for (int channel = 0; channel < 3; ++channel) {
        const int high = team.max(highest[channel]), low = 255 - team.max(lowest_inverted[channel]);
        const double scale = high > low ? 255.0 / (high - low) : 1.0;
        const double offset = high > low ? -low * scale : 0.0;
        for (int v = team.rank(); v < 256; v += team.size()) {
            const int stretched = static_cast<int>(v * scale + offset);
            scratch.table[channel * 256 + v] = static_cast<std::uint8_t>(stretched < 0 ? 0 : stretched > 255 ? 255 : stretched);
        }
    }
}

// The table that equalises each channel's histogram h: v → (step/2 + Σ_{u<v} h(u)) / step, step = (all pixels but those of the
// highest value) / 255, all in whole numbers; a channel with step 0 stays as it is.
template <class Team> MLKD_HD void equalize_table(const Team& team, const std::uint8_t* in, AugmentScratch& scratch) {
    // Without atomics: a member counts the values of some pixels of a channel in a histogram of its own.
    const int parts = team.size() / image_channels < 1 ? 1 : team.size() / image_channels < AugmentScratch::max_parts
                          ? team.size() / image_channels : AugmentScratch::max_parts;
    std::uint16_t* const all_counts = scratch.counts[0];
    for (int i = team.rank(); i < image_channels * parts * 256; i += team.size()) all_counts[i] = 0;
    team.sync();
    for (int work = team.rank(); work < image_channels * parts; work += team.size()) {
        std::uint16_t* counts = scratch.counts[work];
        const int channel = work / parts, part = work % parts;
        const int end = image_pixels * (part + 1) / parts;
        for (int i = image_pixels * part / parts; i < end; ++i) ++counts[in[3 * i + channel]];
    }
    team.sync();
    // Each channel's histogram, in its part 0, and its highest value.
    int highest[image_channels];
    for (int channel = 0; channel < image_channels; ++channel) {
        std::uint16_t* counts = scratch.counts[channel * parts];
        int mine = 0;
        for (int v = team.rank(); v < 256; v += team.size()) {
            int sum = counts[v];
            for (int part = 1; part < parts; ++part) sum += counts[part * 256 + v];
            counts[v] = static_cast<std::uint16_t>(sum);
            mine = sum > 0 ? v : mine;
        }
        highest[channel] = team.max(mine);
    }
    team.sync();
    // The values in runs: their sums, then each run from the sum of those before it.
    int runs = 1;
    while (runs < AugmentScratch::max_runs && 2 * runs * image_channels <= team.size()) runs *= 2;
    const int length = 256 / runs;
    for (int work = team.rank(); runs > 1 && work < image_channels * runs; work += team.size()) {
        const std::uint16_t* counts = scratch.counts[work / runs * parts] + work % runs * length;
        int sum = 0;
        for (int i = 0; i < length; ++i) sum += counts[i];
        scratch.run_sums[work] = static_cast<std::uint16_t>(sum);
    }
    team.sync();
    for (int work = team.rank(); work < image_channels * runs; work += team.size()) {
        const int channel = work / runs, run = work % runs;
        const std::uint16_t* counts = scratch.counts[channel * parts];
        std::uint8_t* table = scratch.table + channel * 256;
        const int step = (image_pixels - counts[highest[channel]]) / 255;
        int below = step / 2;
        for (int before = 0; before < run; ++before) below += scratch.run_sums[channel * runs + before];
        for (int v = run * length; v < (run + 1) * length; ++v) {
            const int rank = step == 0 ? v : below / step;
            table[v] = static_cast<std::uint8_t>(rank > 255 ? 255 : rank);
            below += counts[v];
        }
    }
}

// --- point functions and cutout ---------------------------------------------------------------------------------------

struct SolarizeValue {
    float threshold;
    MLKD_HD std::uint8_t operator()(int value) const {
        return static_cast<std::uint8_t>(static_cast<float>(value) < threshold ? value : 255 - value);
    }
};

struct PosterizeValue {
    int mask;
    MLKD_HD std::uint8_t operator()(int value) const { return static_cast<std::uint8_t>(value & mask); }
};

// A rectangle of pixels, both ends inclusive.
struct Rectangle {
    int left, top, right, bottom;
    MLKD_HD bool holds(int x, int y) const { return x >= left && x <= right && y >= top && y <= bottom; }
};

// The square of side 32·magnitude about the centre, cut at the image; its corner is clamped at 0 before the side is
// added, and both ends are drawn, so that even magnitude 0 fills one pixel.
MLKD_HD inline Rectangle cutout_rectangle(float magnitude, float centre_x, float centre_y) {
    const double side = static_cast<double>(magnitude) * image_side;
    const double x = centre_x - side / 2, y = centre_y - side / 2;
    const int left = x > 0 ? static_cast<int>(x) : 0, top = y > 0 ? static_cast<int>(y) : 0;
    return {left, top, static_cast<int>(left + side), static_cast<int>(top + side)};
}

// What cutout fills with: about the mean of CIFAR-10.
struct CutoutColour {
    std::uint8_t channel[image_channels] = {125, 123, 114};
};

template <class Team>
MLKD_HD void cutout(const Team& team, std::uint8_t* out, const std::uint8_t* in, const Rectangle& hole) {
    const CutoutColour colour;
    for (int i = team.rank(); i < image_pixels; i += team.size()) {
        const std::uint8_t* from = hole.holds(i % image_side, i / image_side) ? colour.channel : in + 3 * i;
        for (int channel = 0; channel < image_channels; ++channel) out[3 * i + channel] = from[channel];
    }
}

// --- all of them -------------------------------------------------------------------------------------------------------

// The geometric operations differ in six numbers.
MLKD_HD inline FixedAffine affine_of(AugmentOp op, double m) {
    switch (op) {
        case AugmentOp::rotate: return rotation_affine(m);
        case AugmentOp::shear_x: return fixed_affine(1, m, 0, 0, 1, 0);
        case AugmentOp::shear_y: return fixed_affine(1, 0, 0, m, 1, 0);
        case AugmentOp::translate_x: return shift_affine(m * image_side, 0);
        default: return shift_affine(0, m * image_side);  // translate_y
    }
}

// Half of the operations are a table of bytes, so that the loop over the pixels is there once.
template <class Team>
MLKD_HD void apply_operation(const Team& team, std::uint8_t* out, const std::uint8_t* in, AugmentOp op, float magnitude, float centre_x,
                             float centre_y, AugmentScratch& scratch) {
    switch (op) {
        case AugmentOp::identity: return copy_image(team, out, in);
        case AugmentOp::color: return change_color(team, out, in, magnitude);
        case AugmentOp::sharpness: return change_sharpness(team, out, in, magnitude);
        case AugmentOp::cutout: return cutout(team, out, in, cutout_rectangle(magnitude, centre_x, centre_y));
        case AugmentOp::rotate:
        case AugmentOp::shear_x:
        case AugmentOp::shear_y:
        case AugmentOp::translate_x:
        case AugmentOp::translate_y: return transform_image(team, out, in, affine_of(op, magnitude));
        case AugmentOp::autocontrast: autocontrast_table(team, in, scratch); break;
        case AugmentOp::equalize: equalize_table(team, in, scratch); break;
        case AugmentOp::solarize: fill_table(team, scratch, SolarizeValue{magnitude}); break;
        case AugmentOp::posterize: fill_table(team, scratch, PosterizeValue{0xff << (8 - static_cast<int>(magnitude))}); break;
        case AugmentOp::contrast:
        case AugmentOp::brightness:
            fill_table(team, scratch, BlendValue{op == AugmentOp::contrast ? mean_luma(team, in) : 0, magnitude});
            break;
    }
    team.sync();
    apply_table(team, out, in, scratch.table);
}

}  // namespace mlkd
