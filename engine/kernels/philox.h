#pragma once
// Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as
// 1, 2, 3", SC 2011). A number is a pure function of (seed, purpose, epoch, sample, draw): the same on every device,
// for any batch order and any number of threads.
#include <cstdint>

#include "engine/kernels/device_code.h"

namespace mlkd {

struct PhiloxBlock {
    std::uint32_t word[4];
};

// Ten rounds of the bijection on a 128-bit counter under a 64-bit key.
MLKD_HD inline PhiloxBlock philox4x32(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
    for (int round = 0; round < 10; ++round) {
        const std::uint64_t product0 = 0xD2511F53ull * counter.word[0];
        const std::uint64_t product1 = 0xCD9E8D57ull * counter.word[2];
        counter = PhiloxBlock{{static_cast<std::uint32_t>(product1 >> 32) ^ counter.word[1] ^ key0,
                               static_cast<std::uint32_t>(product1),
                               static_cast<std::uint32_t>(product0 >> 32) ^ counter.word[3] ^ key1,
                               static_cast<std::uint32_t>(product0)}};
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return counter;
}

// What a random number is for; part of its counter, so that no two uses share numbers.
enum class Purpose : std::uint32_t { initialisation = 1, shuffle = 2, weak_view = 3, strong_view = 4, synthetic = 5, test = 6 };

// The numbers of one sample in one epoch for one purpose, drawn in order.
class RandomSequence {
public:
    MLKD_HD RandomSequence(std::uint64_t seed, Purpose purpose, std::uint32_t epoch, std::uint32_t sample)
        : key0_(static_cast<std::uint32_t>(seed)),
          key1_(static_cast<std::uint32_t>(seed >> 32)),
          counter_{{0, sample, epoch, static_cast<std::uint32_t>(purpose)}} {}

    MLKD_HD std::uint32_t bits() {
        if (used_ == 4) {
            block_ = philox4x32(counter_, key0_, key1_);
            ++counter_.word[0];
            used_ = 0;
        }
        return block_.word[used_++];
    }
    // Uniform in [0, 1) with 24 bits: exact in float.
    MLKD_HD float uniform() { return static_cast<float>(bits() >> 8) * (1.0f / 16777216.0f); }
    // Uniform integer in [0, count).
    MLKD_HD std::uint32_t below(std::uint32_t count) {
        return static_cast<std::uint32_t>((static_cast<std::uint64_t>(bits()) * count) >> 32);
    }

private:
    std::uint32_t key0_, key1_;
    PhiloxBlock counter_;
    PhiloxBlock block_{};
    int used_ = 4;
};

}  // namespace mlkd
