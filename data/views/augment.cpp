#include "data/views/augment.h"

#include <fmt/format.h>

#include "data/views/augment_kernels.h"
#include "engine/error.h"

namespace mlkd {

const char* name_of(AugmentOp op) {
    switch (op) {
        case AugmentOp::identity: return "identity";
        case AugmentOp::autocontrast: return "autocontrast";
        case AugmentOp::equalize: return "equalize";
        case AugmentOp::rotate: return "rotate";
        case AugmentOp::solarize: return "solarize";
        case AugmentOp::color: return "color";
        case AugmentOp::posterize: return "posterize";
        case AugmentOp::contrast: return "contrast";
        case AugmentOp::brightness: return "brightness";
        case AugmentOp::sharpness: return "sharpness";
        case AugmentOp::shear_x: return "shear_x";
        case AugmentOp::shear_y: return "shear_y";
        case AugmentOp::translate_x: return "translate_x";
        case AugmentOp::translate_y: return "translate_y";
        case AugmentOp::cutout: return "cutout";
    }
    throw Error("augmentation: unknown operation");
}

AugmentOp parse_augment_op(std::string_view name) {
    std::string known;
    for (int i = 0; i <= random_operations; ++i) {
        const auto op = static_cast<AugmentOp>(i);
        if (name == name_of(op)) return op;
        known += fmt::format("{}{}", i == 0 ? "" : ", ", name_of(op));
    }
    throw Error(fmt::format("augmentation: unknown operation '{}'; known are {}", name, known));
}

void augment_image(std::uint8_t* out, const std::uint8_t* in, AugmentOp op, float magnitude, float centre_x, float centre_y) {
    const MagnitudeRange range = magnitude_range(op);
    if (!(magnitude >= range.low && magnitude <= range.high))
        throw Error(fmt::format("augmentation: magnitude {} of {} is outside its range {} .. {}", magnitude, name_of(op), range.low,
                                range.high));
    AugmentScratch scratch;
    apply_operation(SerialTeam(), out, in, op, magnitude, centre_x, centre_y, scratch);
}

}  // namespace mlkd
