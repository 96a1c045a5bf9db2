#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "tests/engine/buffers.h"
#include "tests/engine/naive_convolution.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Case {
    Shape x, w;
    Convolution convolution;
};

// Odd extents, one image, three channels, both strides, filters of 1 and 3, channels that fill no vector. Even and odd
// extents under stride 2 differ in the padding behind: oneDNN is told it, so both are here.
const std::vector<Case>& cases() {
    static const std::vector<Case> all{
        {{1, 5, 7, 3}, {5, 3, 3, 3}, {1, 1}},    {{3, 8, 8, 3}, {16, 3, 3, 3}, {1, 1}},   {{2, 9, 7, 16}, {33, 3, 3, 16}, {2, 1}},
        {{2, 8, 8, 16}, {32, 3, 3, 16}, {2, 1}}, {{2, 8, 6, 17}, {9, 1, 1, 17}, {2, 0}},  {{1, 7, 7, 16}, {32, 1, 1, 16}, {2, 0}},
        {{3, 5, 3, 8}, {8, 1, 1, 8}, {1, 0}},    {{2, 7, 6, 5}, {7, 3, 3, 5}, {1, 0}},    {{2, 9, 9, 4}, {6, 3, 3, 4}, {2, 0}},
        {{1, 1, 1, 1}, {1, 3, 3, 1}, {1, 1}},    {{5, 8, 8, 64}, {64, 3, 3, 64}, {1, 1}}, {{3, 11, 13, 48}, {32, 3, 3, 48}, {1, 1}},
        {{2, 6, 6, 3}, {4, 1, 1, 3}, {1, 1}},
    };
    return all;
}

std::unique_ptr<Backend> backend_with(const std::string& method) {
    CpuOptions options;
    options.convolution = method;
    return make_cpu_backend(options);
}

// float32 sums of up to a few thousand products of numbers in [-1, 1]; Winograd's transforms cost about one digit.
constexpr double tolerance = 1e-5;

}  // namespace

TEST_CASE("convolution forward equals its definition with every epilogue") {
    for (const std::string method : {"direct", "winograd", "auto"}) {
        const auto backend = backend_with(method);
        for (const Case& c : cases()) {
            const NaiveConvolution naive(c.x, c.w, c.convolution);
            Buffer x(c.x), w(c.w), bias({c.w[0]}), residual(naive.y);
            x.fill_random(1), w.fill_random(2), bias.fill_random(3), residual.fill_random(4);
            const Values products = naive.forward(x.data(), w.data());
            for (int mask = 0; mask < 8; ++mask) {
                Epilogue epilogue;
                if (mask & 1) epilogue.bias = bias.tensor();
                if (mask & 2) epilogue.residual = residual.tensor();
                epilogue.relu = (mask & 4) != 0;
                Values expected = products;
                for (std::size_t i = 0; i < expected.size(); ++i) {
                    const auto index = static_cast<std::int64_t>(i);
                    if (mask & 1) expected[i] += double{bias[index % c.w[0]]};
                    if (mask & 2) expected[i] += double{residual[index]};
                    if (mask & 4) expected[i] = expected[i] > 0 ? expected[i] : 0;
                }
                CAPTURE(method);
                CAPTURE(c.x.text());
                CAPTURE(c.w.text());
                CAPTURE(c.convolution.stride);
                CAPTURE(mask);
                Buffer y(naive.y);
                backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), c.convolution, epilogue);
                CHECK(relative_difference(y, expected) < tolerance);
            }
        }
    }
}

TEST_CASE("convolution backward by data and by filter equal their definitions") {
    for (const std::string method : {"direct", "winograd", "auto"}) {
        const auto backend = backend_with(method);
        for (const Case& c : cases()) {
            const NaiveConvolution naive(c.x, c.w, c.convolution);
            Buffer x(c.x), w(c.w), dL_dy(naive.y), dL_dx(c.x), dL_dw(c.w);
            x.fill_random(1), w.fill_random(2), dL_dy.fill_random(5);
            backend->convolution_backward_data(dL_dx.tensor(), dL_dy.tensor(), w.tensor(), c.convolution);
            backend->convolution_backward_filter(dL_dw.tensor(), x.tensor(), dL_dy.tensor(), c.convolution);
            CAPTURE(method);
            CAPTURE(c.x.text());
            CAPTURE(c.w.text());
            CAPTURE(c.convolution.stride);
            Values expected = naive.backward_data(dL_dy.data(), w.data());
            CHECK(relative_difference(dL_dx, expected) < tolerance);
            Buffer sum(c.x);
            sum.fill_random(6);
            for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += double{sum[static_cast<std::int64_t>(i)]};
            backend->convolution_backward_data(sum.tensor(), dL_dy.tensor(), w.tensor(), c.convolution, true);
            CHECK(relative_difference(sum, expected) < tolerance);
            CHECK(relative_difference(dL_dw, naive.backward_filter(x.data(), dL_dy.data())) < tolerance);
        }
    }
}

TEST_CASE("convolution repeats bit for bit") {
    const Case c{{7, 16, 16, 64}, {64, 3, 3, 64}, {1, 1}};
    for (const std::string method : {"direct", "winograd", "auto"}) {
        const auto backend = backend_with(method);
        Buffer x(c.x), w(c.w), dL_dy(c.x);
        x.fill_random(1), w.fill_random(2), dL_dy.fill_random(5);
        std::vector<std::vector<float>> first;
        for (int repetition = 0; repetition < 5; ++repetition) {
            Buffer y(c.x), dL_dx(c.x), dL_dw(c.w);
            backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), c.convolution);
            backend->convolution_backward_data(dL_dx.tensor(), dL_dy.tensor(), w.tensor(), c.convolution);
            backend->convolution_backward_filter(dL_dw.tensor(), x.tensor(), dL_dy.tensor(), c.convolution);
            const std::vector<std::vector<float>> bits{y.values(), dL_dx.values(), dL_dw.values()};
            if (repetition == 0) first = bits;
            CAPTURE(method);
            CHECK(bits == first);
        }
    }
}

TEST_CASE("convolution refuses shapes that do not fit") {
    const auto backend = backend_with("direct");
    Buffer x({2, 5, 5, 3}), w({4, 3, 3, 3}), other_channels({4, 3, 3, 5}), y({2, 5, 5, 4}), small({2, 4, 5, 4}), bias({3});
    x.fill_random(1), w.fill_random(2);
    CHECK_THROWS_AS(backend->convolution_forward(small.tensor(), x.tensor(), w.tensor(), {1, 1}), Error);
    CHECK_THROWS_AS(backend->convolution_forward(y.tensor(), x.tensor(), other_channels.tensor(), {1, 1}), Error);
    CHECK_THROWS_AS(backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), {0, 1}), Error);
    Epilogue wrong_bias;
    wrong_bias.bias = bias.tensor();
    CHECK_THROWS_AS(backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), {1, 1}, wrong_bias), Error);
    Epilogue aliased;
    aliased.residual = y.tensor();
    CHECK_THROWS_AS(backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), {1, 1}, aliased), Error);
}

TEST_CASE("an unknown convolution method or an impossible number of threads is bad usage") {
    CpuOptions options;
    options.convolution = "fft";
    CHECK_THROWS_AS(make_cpu_backend(options), UsageError);
    options = {};
    options.threads = -1;
    CHECK_THROWS_AS(make_cpu_backend(options), UsageError);
}
