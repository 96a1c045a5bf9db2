#pragma once
// Random host buffers with a sentinel behind them, and tensors over them. Outputs start as NaN.
#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "engine/philox.h"
#include "engine/tensor.h"

namespace mlkd {

class Buffers {
public:
    explicit Buffers(std::uint64_t seed) : random_(seed, Purpose::test, 0, 0) {}
    ~Buffers() { check_sentinels(); }

    Tensor output(const Shape& shape) { return make(shape, [] { return std::numeric_limits<float>::quiet_NaN(); }); }
    Tensor constant(const Shape& shape, float value) { return make(shape, [value] { return value; }); }
    // Uniform in [low, high).
    Tensor input(const Shape& shape, float low = -1, float high = 1) {
        return make(shape, [&] { return low + (high - low) * random_.uniform(); });
    }
    void check_sentinels() const {
        for (const auto& buffer : buffers_)
            for (std::size_t i = buffer.size() - guard; i < buffer.size(); ++i) CHECK(buffer[i] == sentinel);
    }

private:
    static constexpr std::size_t guard = 8;
    static constexpr float sentinel = -12345.5f;

    template <class Draw> Tensor make(const Shape& shape, Draw draw) {
        auto& buffer = buffers_.emplace_back(static_cast<std::size_t>(shape.elements()) + guard, sentinel);
        for (std::int64_t i = 0; i < shape.elements(); ++i) buffer[static_cast<std::size_t>(i)] = draw();
        return view_of(buffer.data(), shape);
    }
    RandomSequence random_;
    std::deque<std::vector<float>> buffers_;
};

inline std::vector<double> values(const Tensor& tensor) {
    const float* data = tensor.as<float>();
    return {data, data + tensor.elements()};
}

}  // namespace mlkd
