#pragma once
// Random host buffers with a sentinel behind them, and tensors over them. Outputs start as NaN.
#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "engine/dispatch.h"
#include "engine/philox.h"
#include "engine/tensor.h"

namespace mlkd {

template <class T> class BuffersOf {
public:
    explicit BuffersOf(std::uint64_t seed) : random_(seed, Purpose::test, 0, 0) {}
    ~BuffersOf() { check_sentinels(); }

    Tensor output(const Shape& shape) { return make(shape, [] { return std::numeric_limits<T>::quiet_NaN(); }); }
    Tensor constant(const Shape& shape, T value) { return make(shape, [value] { return value; }); }
    // Uniform in [low, high); doubles have bits that no float has.
    Tensor input(const Shape& shape, T low = -1, T high = 1) {
        return make(shape, [&] {
            T uniform = random_.uniform();
            if constexpr (sizeof(T) > sizeof(float)) uniform += 0x1p-24 * static_cast<T>(random_.uniform());
            return low + (high - low) * uniform;
        });
    }
    void check_sentinels() const {
        for (const auto& buffer : buffers_)
            for (std::size_t i = buffer.size() - guard; i < buffer.size(); ++i) CHECK(buffer[i] == sentinel);
    }

private:
    static constexpr std::size_t guard = 8;
    static constexpr T sentinel = T{-12345.5};

    template <class Draw> Tensor make(const Shape& shape, Draw draw) {
        auto& buffer = buffers_.emplace_back(static_cast<std::size_t>(shape.elements()) + guard, sentinel);
        for (std::int64_t i = 0; i < shape.elements(); ++i) buffer[static_cast<std::size_t>(i)] = draw();
        return view_of(buffer.data(), shape);
    }
    RandomSequence random_;
    std::deque<std::vector<T>> buffers_;
};
using Buffers = BuffersOf<float>;

inline std::vector<double> values(const Tensor& tensor) {
    std::vector<double> out;
    with_real_type(tensor.dtype, [&](auto zero) {
        const auto* data = tensor.as<decltype(zero)>();
        out.assign(data, data + tensor.elements());
    });
    return out;
}

// The tolerance of a test that runs in both precisions.
template <class T> constexpr double either(double single, double twofold) { return sizeof(T) == sizeof(float) ? single : twofold; }

}  // namespace mlkd
