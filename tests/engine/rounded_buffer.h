#pragma once
// Tensors of bfloat16 for tests, between sentinels: NaN, or random. Their values as floats are what references compute with.
#include <doctest/doctest.h>

#include <cstdint>
#include <vector>

#include "engine/bfloat16.h"
#include "engine/philox.h"

namespace mlkd::test {

class RoundedBuffer {
public:
    explicit RoundedBuffer(const Shape& shape) : memory_(static_cast<std::size_t>(shape.elements()) + 2 * margin, nan()), shape_(shape) {
        for (std::size_t i = 0; i < margin; ++i) memory_[i] = memory_[memory_.size() - 1 - i] = sentinel();
    }
    RoundedBuffer(const Shape& shape, std::uint32_t sample) : RoundedBuffer(shape) {
        RandomSequence random(2025, Purpose::test, 0, sample);
        for (std::int64_t i = 0; i < shape.elements(); ++i) data()[i] = bfloat16(2.0f * random.uniform() - 1.0f);
    }
    ~RoundedBuffer() {
        bool intact = true;
        for (std::size_t i = 0; i < margin; ++i)
            intact = intact && memory_[i].bits == sentinel().bits && memory_[memory_.size() - 1 - i].bits == sentinel().bits;
        CHECK_MESSAGE(intact, "written outside a tensor of shape ", shape_.text());
    }
    RoundedBuffer(const RoundedBuffer&) = delete;
    RoundedBuffer& operator=(const RoundedBuffer&) = delete;

    Tensor tensor() { return view_of(data(), shape_); }
    bfloat16* data() { return memory_.data() + margin; }
    float operator[](std::int64_t i) const { return static_cast<float>(memory_[margin + static_cast<std::size_t>(i)]); }
    std::vector<float> values() const {
        std::vector<float> out;
        for (std::int64_t i = 0; i < shape_.elements(); ++i) out.push_back((*this)[i]);
        return out;
    }

private:
    static constexpr std::size_t margin = 32;  // 64 bytes
    static bfloat16 nan() { return with_bits(0x7fc0); }
    static bfloat16 sentinel() { return with_bits(0xc641); }
    static bfloat16 with_bits(std::uint16_t bits) {
        bfloat16 value;
        value.bits = bits;
        return value;
    }

    std::vector<bfloat16> memory_;
    Shape shape_;
};

}  // namespace mlkd::test
