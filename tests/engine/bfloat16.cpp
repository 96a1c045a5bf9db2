#include "engine/bfloat16.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "engine/kernels/philox.h"

using namespace mlkd;

namespace {

float with_bits(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// The bfloat16 values on both sides of a finite x, by arithmetic on magnitudes.
float below(float x) {
    std::uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return with_bits(bits & 0xffff0000u);
}

}  // namespace

TEST_CASE("bfloat16 is the nearest of the two neighbours, the even one in the middle") {
    RandomSequence random(7, Purpose::test, 0, 0);
    for (int i = 0; i < 20000; ++i) {
        std::uint32_t bits = random.below(1u << 16) << 16 | random.below(1u << 16);
        if (i % 5 == 0) bits = (bits & 0xffff0000u) | 0x8000u;  // half-way
        const float x = with_bits(bits);
        if (!std::isfinite(x)) continue;
        const float low = below(x), high = with_bits((bits & 0xffff0000u) + 0x10000u);
        const auto rounded = static_cast<float>(bfloat16(x));
        CAPTURE(x);
        const double to_low = std::fabs(static_cast<double>(x) - low);
        // Beyond the largest number lies what would be the next power of two.
        const double next = std::isfinite(high) ? static_cast<double>(high) : std::copysign(std::ldexp(1.0, 128), x);
        const double to_high = std::fabs(next - static_cast<double>(x));
        if (to_low < to_high) CHECK(rounded == low);
        if (to_low > to_high) CHECK(rounded == high);
        if (to_low == to_high) CHECK((bfloat16(x).bits & 1) == 0);
        CHECK(static_cast<float>(bfloat16(rounded)) == rounded);
    }
}

TEST_CASE("bfloat16 keeps infinities, signed zeros and NaN") {
    constexpr float infinity = std::numeric_limits<float>::infinity();
    CHECK(static_cast<float>(bfloat16(infinity)) == infinity);
    CHECK(static_cast<float>(bfloat16(-infinity)) == -infinity);
    CHECK(std::signbit(static_cast<float>(bfloat16(-0.0f))));
    CHECK(std::isnan(static_cast<float>(bfloat16(std::numeric_limits<float>::quiet_NaN()))));
    CHECK(std::isnan(static_cast<float>(bfloat16(with_bits(0x7f800001u)))));  // its payload lies in the lower half
    CHECK(std::isnan(static_cast<float>(bfloat16(with_bits(0xffffffffu)))));
}
