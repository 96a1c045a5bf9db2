// Convolution, matrix product and element-wise kernels in float64, the reference precision.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/philox.h"
#include "tests/engine/buffers.h"
#include "tests/engine/naive_convolution.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

// Doubles with a sentinel on either side: NaN, or random with bits that no float has.
class Doubles {
public:
    explicit Doubles(const Shape& shape) : memory_(static_cast<std::size_t>(shape.elements()) + 2, std::nan("")), shape_(shape) {
        memory_.front() = memory_.back() = sentinel;
    }
    Doubles(const Shape& shape, std::uint32_t sample) : Doubles(shape) {
        RandomSequence random(2024, Purpose::test, 0, sample);
        for (std::size_t i = 1; i + 1 < memory_.size(); ++i) memory_[i] = 2.0 * random.uniform() - 1.0 + 1e-8 * random.uniform();
    }
    ~Doubles() { CHECK((memory_.front() == sentinel && memory_.back() == sentinel)); }
    Doubles(const Doubles&) = delete;
    Doubles& operator=(const Doubles&) = delete;

    double* data() { return memory_.data() + 1; }
    Tensor tensor() { return view_of(data(), shape_); }
    double operator[](std::int64_t i) const { return memory_[static_cast<std::size_t>(i) + 1]; }

private:
    static constexpr double sentinel = -12345.678;
    std::vector<double> memory_;
    Shape shape_;
};

struct Case {
    Shape x, w;
    Convolution convolution;
};

// Odd extents, channels and positions that fill no panel, both strides, filters of 1 and 3, more filters than a task takes.
const Case cases[] = {
    {{1, 5, 7, 3}, {5, 3, 3, 3}, {1, 1}},   {{3, 8, 8, 3}, {16, 3, 3, 3}, {1, 1}}, {{2, 9, 7, 16}, {33, 3, 3, 16}, {2, 1}},
    {{2, 8, 8, 16}, {70, 3, 3, 16}, {2, 1}}, {{2, 8, 6, 17}, {9, 1, 1, 17}, {2, 0}}, {{1, 7, 7, 16}, {32, 1, 1, 16}, {2, 0}},
    {{2, 7, 6, 5}, {7, 3, 3, 5}, {1, 0}},   {{2, 9, 9, 4}, {6, 3, 3, 4}, {2, 0}},  {{1, 1, 1, 1}, {1, 3, 3, 1}, {1, 1}},
    {{2, 6, 6, 3}, {4, 1, 1, 3}, {1, 1}},
};

constexpr double tolerance = 1e-13;

}  // namespace

TEST_CASE("convolution in float64: all three directions and the epilogue equal the definition") {
    const auto backend = make_cpu_backend();
    for (const Case& c : cases) {
        CAPTURE(c.x.text());
        CAPTURE(c.w.text());
        const NaiveConvolution naive(c.x, c.w, c.convolution);
        Doubles x(c.x, 1), w(c.w, 2), dL_dy(naive.y, 3), bias({c.w[0]}, 4), residual(naive.y, 5);
        Doubles y(naive.y), z(naive.y), dL_dx(c.x), dL_dw(c.w);
        backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), c.convolution);
        Values expected = naive.forward(x.data(), w.data());
        CHECK(relative_difference(y, expected) < tolerance);
        backend->convolution_forward(z.tensor(), x.tensor(), w.tensor(), c.convolution, {bias.tensor(), residual.tensor(), true});
        for (std::size_t i = 0; i < expected.size(); ++i) {
            const auto at = static_cast<std::int64_t>(i);
            expected[i] = std::fmax(0.0, expected[i] + bias[at % c.w[0]] + residual[at]);
        }
        CHECK(relative_difference(z, expected) < tolerance);
        backend->convolution_backward_data(dL_dx.tensor(), dL_dy.tensor(), w.tensor(), c.convolution);
        expected = naive.backward_data(dL_dy.data(), w.data());
        CHECK(relative_difference(dL_dx, expected) < tolerance);
        Doubles sum(c.x, 6);
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += sum[static_cast<std::int64_t>(i)];
        backend->convolution_backward_data(sum.tensor(), dL_dy.tensor(), w.tensor(), c.convolution, true);
        CHECK(relative_difference(sum, expected) < tolerance);
        backend->convolution_backward_filter(dL_dw.tensor(), x.tensor(), dL_dy.tensor(), c.convolution);
        CHECK(relative_difference(dL_dw, naive.backward_filter(x.data(), dL_dy.data())) < tolerance);
    }
}

TEST_CASE("matrix product in float64 equals the definition") {
    const auto backend = make_cpu_backend();
    const std::int64_t batch = 2, m = 19, n = 13, k = 11;
    for (const bool ta : {false, true})
        for (const bool tb : {false, true})
            for (const auto& [alpha, beta] : std::vector<std::pair<float, float>>{{1, 0}, {-0.5f, 0}, {2, -0.25f}}) {
                Doubles a(ta ? Shape{batch, k, m} : Shape{batch, m, k}, 1), b(tb ? Shape{batch, n, k} : Shape{batch, k, n}, 2);
                Doubles poisoned({batch, m, n}), filled({batch, m, n}, 3), before({batch, m, n}, 3);
                Doubles& c = beta == 0 ? poisoned : filled;
                backend->matmul(c.tensor(), a.tensor(), ta ? Transpose::yes : Transpose::no, b.tensor(), tb ? Transpose::yes : Transpose::no,
                                alpha, beta);
                Values expected;
                for (std::int64_t i = 0; i < batch * m * n; ++i) {
                    const std::int64_t matrix = i / (m * n), row = i / n % m, column = i % n;
                    double sum = 0;
                    for (std::int64_t t = 0; t < k; ++t)
                        sum += a[matrix * m * k + (ta ? t * m + row : row * k + t)] * b[matrix * k * n + (tb ? column * k + t : t * n + column)];
                    expected.push_back(alpha * sum + (beta == 0 ? 0 : beta * before[i]));
                }
                CHECK(relative_difference(c, expected) < tolerance);
            }
}

TEST_CASE("operands of two precisions are refused; conversion rounds to nearest and widens exactly") {
    const auto backend = make_cpu_backend();
    Doubles x({1, 4, 4, 2}, 1), y({1, 4, 4, 3});
    Buffer w({3, 3, 3, 2});
    CHECK_THROWS_WITH_AS(backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), {}), doctest::Contains("f64 of a tensor of f32"), Error);
    Doubles wide({37}, 2), back({37});
    Buffer narrow({37});
    convert({}, narrow.tensor(), wide.tensor());
    convert({}, back.tensor(), narrow.tensor());
    for (std::int64_t i = 0; i < 37; ++i) {
        CHECK(narrow[i] == static_cast<float>(wide[i]));
        CHECK(back[i] == static_cast<double>(narrow[i]));
        CHECK(back[i] != wide[i]);
    }
}
