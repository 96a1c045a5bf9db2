#pragma once
// Elementary functions in float32 that a compiler can vectorise (no table, no branch, no call), the same on every
// device. tests/losses/numeric_test.cpp holds them against double.
#include <cmath>
#include <cstdint>
#include <cstring>

#include "engine/kernels/device_code.h"

namespace mlkd {

MLKD_HD inline std::uint32_t bits_of(float value) {
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    return bits;
}

MLKD_HD inline float float_of(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof(value));
    return value;
}

// ln 2 in two parts: the first has so few bits that n · ln2_high is exact.
constexpr float ln2_high = 0x1.62e4p-1f;
constexpr float ln2_low = 0x1.7f7d1cp-20f;

// e^x for x <= 88, below -87 it is 0; within 1.5 ulp. x = n ln 2 + r with |r| <= ln 2 / 2, and Taylor's series for e^r.
MLKD_HD inline float fast_exp(float x) {
    constexpr float round_to_integer = 0x1.8p23f;  // adding it leaves no bits for a fraction
    const float shifted = fmaf(x, 0x1.715476p0f, round_to_integer);
    const float n = shifted - round_to_integer;
    const float r = fmaf(n, -ln2_low, fmaf(n, -ln2_high, x));
    float p = 1.0f / 5040;
    p = fmaf(p, r, 1.0f / 720);
    p = fmaf(p, r, 1.0f / 120);
    p = fmaf(p, r, 1.0f / 24);
    p = fmaf(p, r, 1.0f / 6);
    p = fmaf(p, r, 0.5f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    const float two_to_n = float_of((bits_of(shifted) << 23) + 0x3f800000u);
    return x < -87.0f ? 0.0f : p * two_to_n;
}

// The reference precision has no need to be fast.
MLKD_HD inline double fast_exp(double x) { return exp(x); }

// e^x - 1 - x for |x| <= 1/2, with the relative accuracy of x^2 (so x + this is e^x - 1 without cancellation).
MLKD_HD inline float expm1_minus_x(float x) {
    float p = 1.0f / 362880;
    p = fmaf(p, x, 1.0f / 40320);
    p = fmaf(p, x, 1.0f / 5040);
    p = fmaf(p, x, 1.0f / 720);
    p = fmaf(p, x, 1.0f / 120);
    p = fmaf(p, x, 1.0f / 24);
    p = fmaf(p, x, 1.0f / 6);
    p = fmaf(p, x, 0.5f);
    return x * x * p;
}

// artanh(t) / t - 1 for |t| <= 0.18.
MLKD_HD inline float artanh_tail(float t) {
    const float t2 = t * t;
    float p = 1.0f / 11;
    p = fmaf(p, t2, 1.0f / 9);
    p = fmaf(p, t2, 1.0f / 7);
    p = fmaf(p, t2, 1.0f / 5);
    p = fmaf(p, t2, 1.0f / 3);
    return p * t2;
}

// ln x for normal x > 0, within 2 ulp or 1e-7. x = 2^n m with m in [sqrt(1/2), sqrt 2), and ln m = 2 artanh((m-1)/(m+1)).
MLKD_HD inline float fast_log(float x) {
    const std::uint32_t bits = bits_of(x);
    const std::uint32_t exponent = (bits - 0x3f3504f3u) & 0xff800000u;
    const float n = static_cast<float>(static_cast<std::int32_t>(exponent) / (1 << 23));
    const float f = float_of(bits - exponent) - 1.0f;
    const float t = f / (2.0f + f);
    const float log_m = fmaf(2.0f * t, artanh_tail(t), 2.0f * t);
    return fmaf(n, ln2_high, fmaf(n, ln2_low, log_m));
}

// x - ln(1 + x) for |x| <= 0.3, with the relative accuracy of x^2: ln(1 + x) = 2 artanh(t), t = x / (2 + x), x - 2t = xt.
MLKD_HD inline float x_minus_log1p(float x) {
    const float t = x / (2.0f + x);
    return t * (x - 2.0f * artanh_tail(t));
}

}  // namespace mlkd
