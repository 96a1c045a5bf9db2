// The plain loops in double that a GPU runs in the reference precision, here on the host's stream.
#include "engine/cuda/reference_convolution.h"

#include <doctest/doctest.h>

#include <cmath>

#include "tests/engine/buffers.h"
#include "tests/engine/naive_convolution.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Case {
    Shape x, w;
    Convolution convolution;
};

}  // namespace

TEST_CASE("reference convolution on a stream: all three directions and the epilogue equal the definition") {
    for (const Case& c : {Case{{1, 5, 7, 3}, {5, 3, 3, 3}, {1, 1}}, Case{{2, 9, 7, 6}, {11, 3, 3, 6}, {2, 1}},
                          Case{{2, 8, 8, 4}, {7, 3, 3, 4}, {2, 1}}, Case{{2, 8, 6, 17}, {9, 1, 1, 17}, {2, 0}},
                          Case{{2, 7, 6, 5}, {7, 3, 3, 5}, {1, 0}}, Case{{1, 1, 1, 1}, {1, 3, 3, 1}, {1, 1}}}) {
        CAPTURE(c.x.text());
        CAPTURE(c.w.text());
        const NaiveConvolution naive(c.x, c.w, c.convolution);
        BufferOf<double> x(c.x), w(c.w), dL_dy(naive.y), bias({c.w[0]}), residual(naive.y), y(naive.y), z(naive.y), dL_dx(c.x), dL_dw(c.w);
        x.fill_random(1), w.fill_random(2), dL_dy.fill_random(3), bias.fill_random(4), residual.fill_random(5);
        const auto run = [&](Direction way, const Tensor& output, const Tensor& input, const Tensor& filter, const Epilogue& epilogue,
                             bool accumulate = false) {
            cuda::reference_convolution({}, convolution_call(way, output, input, filter, c.convolution, epilogue, accumulate),
                                        {input.data, filter.data, output.data, epilogue.bias.data, epilogue.residual.data});
        };
        run(Direction::forward, y.tensor(), x.tensor(), w.tensor(), {});
        run(Direction::forward, z.tensor(), x.tensor(), w.tensor(), {bias.tensor(), residual.tensor(), true});
        run(Direction::backward_data, dL_dy.tensor(), dL_dx.tensor(), w.tensor(), {});
        run(Direction::backward_filter, dL_dy.tensor(), x.tensor(), dL_dw.tensor(), {});
        Values expected = naive.forward(x.data(), w.data());
        CHECK(relative_difference(y, expected) < 1e-13);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            const auto at = static_cast<std::int64_t>(i);
            expected[i] = std::fmax(0.0, expected[i] + bias[at % c.w[0]] + residual[at]);
        }
        CHECK(relative_difference(z, expected) < 1e-13);
        expected = naive.backward_data(dL_dy.data(), w.data());
        CHECK(relative_difference(dL_dx, expected) < 1e-13);
        for (double& value : expected) value *= 2;
        run(Direction::backward_data, dL_dy.tensor(), dL_dx.tensor(), w.tensor(), {}, true);
        CHECK(relative_difference(dL_dx, expected) < 1e-13);
        CHECK(relative_difference(dL_dw, naive.backward_filter(x.data(), dL_dy.data())) < 1e-13);
    }
}
