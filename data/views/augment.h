#pragma once
// The fourteen operations of RandAugment (Cubuk et al., CVPR Workshops 2020) as MLKD's released code draws them, and
// cutout (DeVries and Taylor, 2017). Every result is, byte for byte, Pillow 9.4's.
#include <cstdint>
#include <string>
#include <string_view>

#include "engine/kernels/device_code.h"

namespace mlkd {

enum class AugmentOp : std::uint8_t {
    identity,
    autocontrast,
    equalize,
    rotate,
    solarize,
    color,
    posterize,
    contrast,
    brightness,
    sharpness,
    shear_x,
    shear_y,
    translate_x,
    translate_y,
    cutout
};
inline constexpr int random_operations = 14;  // those before cutout: what a strong view draws two of

struct MagnitudeRange {
    float low, high;
};

// Where a magnitude is drawn from, uniformly. Unused by identity, autocontrast and equalize; degrees for rotate; a
// fraction of the width for translations and cutout; the number of bits kept by posterize; the threshold of solarize;
// the share of the original image for color, contrast, brightness and sharpness.
MLKD_HD constexpr MagnitudeRange magnitude_range(AugmentOp op) {
    switch (op) {
        case AugmentOp::rotate: return {-30.0f, 30.0f};
        case AugmentOp::solarize: return {0.0f, 256.0f};
        case AugmentOp::posterize: return {4.0f, 8.0f};
        case AugmentOp::color:
        case AugmentOp::contrast:
        case AugmentOp::brightness:
        case AugmentOp::sharpness: return {0.05f, 0.95f};
        case AugmentOp::shear_x:
        case AugmentOp::shear_y:
        case AugmentOp::translate_x:
        case AugmentOp::translate_y: return {-0.3f, 0.3f};
        case AugmentOp::cutout: return {0.0f, 0.5f};
        default: return {0.0f, 1.0f};
    }
}

// "shear_x". parse_augment_op throws Error for an unknown name.
const char* name_of(AugmentOp op);
AugmentOp parse_augment_op(std::string_view name);

// out = op(in) at `magnitude`; both (32, 32, 3), not overlapping. The centre (in pixels) matters to cutout alone.
// Throws Error for a magnitude outside the operation's range.
void augment_image(std::uint8_t* out, const std::uint8_t* in, AugmentOp op, float magnitude, float centre_x = 0, float centre_y = 0);

}  // namespace mlkd
