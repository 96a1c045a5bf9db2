#include <cstdlib>

#include "engine/kernels/philox.h"

#include <doctest/doctest.h>

using namespace mlkd;

namespace {

void check(const PhiloxBlock& value, const PhiloxBlock& expected) {
    for (int i = 0; i < 4; ++i) CHECK(value.word[i] == expected.word[i]);
}

}  // namespace

// The known answers that the authors of Philox publish with their library Random123 (kat_vectors, philox4x32 10).
TEST_CASE("philox4x32-10 gives the published answers") {
    constexpr std::uint32_t ones = 0xffffffff;
    check(philox4x32({{0, 0, 0, 0}}, 0, 0), {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
    check(philox4x32({{ones, ones, ones, ones}}, ones, ones), {{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
    check(philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, 0xa4093822, 0x299f31d0),
          {{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});
}

TEST_CASE("a random sequence is a function of seed, purpose, epoch and sample, drawn block by block") {
    const std::uint64_t seed = 0x123456789abcdef0;
    RandomSequence sequence(seed, Purpose::strong_view, 3, 1234);
    for (std::uint32_t block = 0; block < 3; ++block) {
        const PhiloxBlock expected = philox4x32({{block, 1234, 3, 4}}, 0x9abcdef0, 0x12345678);
        for (const std::uint32_t word : expected.word) CHECK(sequence.bits() == word);
    }
    const std::uint32_t first = RandomSequence(seed, Purpose::strong_view, 3, 1234).bits();
    CHECK(RandomSequence(seed + 1, Purpose::strong_view, 3, 1234).bits() != first);
    CHECK(RandomSequence(seed, Purpose::weak_view, 3, 1234).bits() != first);
    CHECK(RandomSequence(seed, Purpose::strong_view, 4, 1234).bits() != first);
    CHECK(RandomSequence(seed, Purpose::strong_view, 3, 1235).bits() != first);
}

TEST_CASE("uniform numbers fill [0, 1) and integers their range evenly") {
    RandomSequence sequence(7, Purpose::test, 0, 0);
    double sum = 0;
    int counts[7] = {};
    constexpr int draws = 70000;
    for (int i = 0; i < draws; ++i) {
        const float u = sequence.uniform();
        REQUIRE(u >= 0.0f);
        REQUIRE(u < 1.0f);
        sum += double{u};
        ++counts[sequence.below(7)];
    }
    CHECK(sum / draws == doctest::Approx(0.5).epsilon(0.01));             // deviation of the mean: 0.0011
    for (const int count : counts) CHECK(std::abs(count - 10000) < 500);  // deviation of a count: 93
}
