#pragma once
// Random host buffers with a sentinel behind them, and tensors over them. Outputs start as NaN.
#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <vector>

#include "engine/kernels/philox.h"
#include "engine/tensor.h"
#include "engine/types.h"

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

// Tensors stored as S, of which BuffersOf knows only the computed type: rounded copies, and outputs that start as NaN.
template <class S> class StoredAs {
public:
    Tensor rounded(const Tensor& tensor) {
        const Tensor copy = output(tensor.shape);
        for (std::int64_t i = 0; i < tensor.elements(); ++i) copy.as<S>()[i] = static_cast<S>(tensor.as<computed_t<S>>()[i]);
        return copy;
    }
    Tensor output(const Shape& shape) {
        auto& buffer = buffers_.emplace_back(static_cast<std::size_t>(shape.elements()),
                                             static_cast<S>(std::numeric_limits<computed_t<S>>::quiet_NaN()));
        return view_of(buffer.data(), shape);
    }

private:
    std::deque<std::vector<S>> buffers_;
};

inline std::vector<double> values(const Tensor& tensor) {
    std::vector<double> out;
    with_stored_type(tensor.dtype, [&](auto zero) {
        using S = decltype(zero);
        for (std::int64_t i = 0; i < tensor.elements(); ++i) out.push_back(static_cast<computed_t<S>>(tensor.as<S>()[i]));
    });
    return out;
}

// The tolerance of a test that runs in both precisions.
template <class T> constexpr double either(double single, double twofold) { return sizeof(T) == sizeof(float) ? single : twofold; }

}  // namespace mlkd
