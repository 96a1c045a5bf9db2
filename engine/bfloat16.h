#pragma once
// bfloat16: the upper half of a float32, 8 bits of exponent and 7 of mantissa. Tensors store it; nothing is computed in it.
#include <cstdint>

#include "engine/kernels/device_code.h"
#include "engine/tensor.h"

namespace mlkd {

struct bfloat16 {
    std::uint16_t bits;

    bfloat16() = default;
    // The nearest bfloat16, an even mantissa where two are as near; NaN stays NaN.
    MLKD_HD explicit bfloat16(float value) : bits(bfloat16_bits(value)) {}
    MLKD_HD explicit operator float() const { return float_of_bits(static_cast<std::uint32_t>(bits) << 16); }
};

template <> constexpr DType dtype_of<bfloat16>() { return DType::bf16; }

// The type to compute with values that are stored as T: T itself, or float for bfloat16.
template <class T> struct Computed { using type = T; };
template <> struct Computed<bfloat16> { using type = float; };
template <class T> using computed_t = typename Computed<T>::type;

// `value`, or 0, without a branch.
template <class T> MLKD_HD T kept_if(bool keep, T value) { return keep ? value : T{0}; }
MLKD_HD inline bfloat16 kept_if(bool keep, bfloat16 value) {
    value.bits = static_cast<std::uint16_t>(value.bits & -static_cast<int>(keep));
    return value;
}

}  // namespace mlkd
