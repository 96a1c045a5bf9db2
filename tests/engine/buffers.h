#pragma once
// Tensors for tests: memory with sentinels before and behind, random contents, and a norm-wise comparison.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "engine/bfloat16.h"
#include "engine/kernels/philox.h"
#include "engine/tensor.h"

namespace mlkd::test {

// T: float, double or bfloat16, whose values are read as floats.
template <class T> class BufferOf {
public:
    // Poisoned with NaN: what an operation leaves unwritten or reads too early shows.
    explicit BufferOf(const Shape& shape)
        : memory_(static_cast<std::size_t>(shape.elements()) + 2 * margin, T(std::numeric_limits<float>::quiet_NaN())), shape_(shape) {
        for (std::size_t i = 0; i < margin; ++i) memory_[i] = memory_[memory_.size() - 1 - i] = T(sentinel);
    }
    ~BufferOf() {
        const auto expected = static_cast<computed_t<T>>(T(sentinel));
        const auto is_sentinel = [&](std::size_t i) { return static_cast<computed_t<T>>(memory_[i]) == expected; };
        bool intact = true;
        for (std::size_t i = 0; i < margin; ++i) intact = intact && is_sentinel(i) && is_sentinel(memory_.size() - 1 - i);
        CHECK_MESSAGE(intact, "written outside a tensor of shape ", shape_.text());
    }
    BufferOf(const BufferOf&) = delete;
    BufferOf& operator=(const BufferOf&) = delete;

    Tensor tensor() { return view_of(data(), shape_); }
    T* data() { return memory_.data() + margin; }
    computed_t<T> operator[](std::int64_t i) const { return static_cast<computed_t<T>>(memory_[margin + static_cast<std::size_t>(i)]); }
    const Shape& shape() const { return shape_; }
    std::vector<computed_t<T>> values() const {
        std::vector<computed_t<T>> out;
        for (std::int64_t i = 0; i < shape_.elements(); ++i) out.push_back((*this)[i]);
        return out;
    }

    // Uniform in [-1, 1); doubles have bits that no float has.
    void fill_random(std::uint32_t sample) {
        RandomSequence random(2023, Purpose::test, 0, sample);
        for (std::int64_t i = 0; i < shape_.elements(); ++i) {
            auto value = static_cast<computed_t<T>>(2.0f * random.uniform() - 1.0f);
            if constexpr (sizeof(T) == sizeof(double)) value += 1e-8 * random.uniform();
            data()[i] = static_cast<T>(value);
        }
    }

private:
    static constexpr std::size_t margin = 32;  // 64 bytes at least
    static constexpr float sentinel = -12345.678f;
    std::vector<T> memory_;
    Shape shape_;
};
using Buffer = BufferOf<float>;
using RoundedBuffer = BufferOf<bfloat16>;

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
