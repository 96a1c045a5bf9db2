#pragma once
// Tensors for tests: memory with sentinels before and behind, random contents, and a norm-wise comparison.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/philox.h"
#include "engine/tensor.h"

namespace mlkd::test {

class Buffer {
public:
    // Poisoned with NaN: what an operation leaves unwritten or reads too early shows.
    explicit Buffer(const Shape& shape)
        : memory_(static_cast<std::size_t>(shape.elements()) + 2 * margin, std::numeric_limits<float>::quiet_NaN()), shape_(shape) {
        for (std::size_t i = 0; i < margin; ++i) memory_[i] = memory_[memory_.size() - 1 - i] = sentinel;
    }
    ~Buffer() {
        bool intact = true;
        for (std::size_t i = 0; i < margin; ++i) intact = intact && memory_[i] == sentinel && memory_[memory_.size() - 1 - i] == sentinel;
        CHECK_MESSAGE(intact, "written outside a tensor of shape ", shape_.text());
    }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    Tensor tensor() { return view_of(data(), shape_); }
    float* data() { return memory_.data() + margin; }
    float operator[](std::int64_t i) const { return memory_[margin + static_cast<std::size_t>(i)]; }
    const Shape& shape() const { return shape_; }
    std::vector<float> values() { return {data(), data() + shape_.elements()}; }

    void fill_random(std::uint32_t sample) {
        RandomSequence random(2023, Purpose::test, 0, sample);
        for (std::int64_t i = 0; i < shape_.elements(); ++i) data()[i] = 2.0f * random.uniform() - 1.0f;
    }

private:
    static constexpr std::size_t margin = 16;
    static constexpr float sentinel = -12345.678f;
    std::vector<float> memory_;
    Shape shape_;
};

// ‖value − reference‖ / ‖reference‖; infinite when a value is not finite.
template <class Values> double relative_difference(const Values& value, const std::vector<double>& reference) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < reference.size(); ++i) {
        const double v = static_cast<double>(value[static_cast<std::int64_t>(i)]);
        if (!std::isfinite(v)) return std::numeric_limits<double>::infinity();
        difference += (v - reference[i]) * (v - reference[i]);
        norm += reference[i] * reference[i];
    }
    return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

}  // namespace mlkd::test
