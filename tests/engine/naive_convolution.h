#pragma once
// The definition of convolution and its two gradients, in double, one multiplication at a time.
#include <vector>

#include "engine/backend.h"

namespace mlkd::test {

using Values = std::vector<double>;

struct NaiveConvolution {
    Shape x, w, y;  // (N, H, W, C), (K, R, S, C), (N, P, Q, K)
    Convolution convolution;

    NaiveConvolution(const Shape& x_shape, const Shape& w_shape, const Convolution& c)
        : x(x_shape), w(w_shape), y(convolution_output_shape(x_shape, w_shape, c)), convolution(c) {}

    // visit(index into y, index into x, index into w) for every product of the sum.
    template <class Visit> void for_each_product(const Visit& visit) const {
        for (std::int64_t n = 0; n < y[0]; ++n)
            for (std::int64_t p = 0; p < y[1]; ++p)
                for (std::int64_t q = 0; q < y[2]; ++q)
                    for (std::int64_t k = 0; k < y[3]; ++k)
                        for (std::int64_t r = 0; r < w[1]; ++r)
                            for (std::int64_t s = 0; s < w[2]; ++s) {
                                const std::int64_t row = p * convolution.stride - convolution.padding + r;
                                const std::int64_t column = q * convolution.stride - convolution.padding + s;
                                if (row < 0 || row >= x[1] || column < 0 || column >= x[2]) continue;
                                for (std::int64_t c = 0; c < x[3]; ++c)
                                    visit(static_cast<std::size_t>(((n * y[1] + p) * y[2] + q) * y[3] + k),
                                          static_cast<std::size_t>(((n * x[1] + row) * x[2] + column) * x[3] + c),
                                          static_cast<std::size_t>(((k * w[1] + r) * w[2] + s) * w[3] + c));
                            }
    }
    template <class T> Values forward(const T* x_values, const T* w_values) const {
        Values out(static_cast<std::size_t>(y.elements()));
        for_each_product([&](std::size_t i, std::size_t j, std::size_t k) { out[i] += double{x_values[j]} * w_values[k]; });
        return out;
    }
    template <class T> Values backward_data(const T* dL_dy, const T* w_values) const {
        Values out(static_cast<std::size_t>(x.elements()));
        for_each_product([&](std::size_t i, std::size_t j, std::size_t k) { out[j] += double{dL_dy[i]} * w_values[k]; });
        return out;
    }
    template <class T> Values backward_filter(const T* x_values, const T* dL_dy) const {
        Values out(static_cast<std::size_t>(w.elements()));
        for_each_product([&](std::size_t i, std::size_t j, std::size_t k) { out[k] += double{dL_dy[i]} * x_values[j]; });
        return out;
    }
};

}  // namespace mlkd::test
