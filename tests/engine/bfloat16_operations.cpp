// Convolutions and element-wise kernels on tensors of bfloat16, and SGD on master copies.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "engine/optimizers/optimizers.h"
#include "engine/vendor_calls.h"
#include "tests/engine/buffers.h"
#include "tests/engine/naive_convolution.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Case {
    Shape x, w;
    Convolution convolution;
};

// Odd extents, three channels, channels that fill no vector, both strides, filters of 1 and 3.
const Case cases[] = {
    {{1, 5, 7, 3}, {5, 3, 3, 3}, {1, 1}},    {{3, 8, 8, 3}, {16, 3, 3, 3}, {1, 1}},   {{2, 9, 7, 16}, {33, 3, 3, 16}, {2, 1}},
    {{2, 8, 8, 16}, {32, 3, 3, 16}, {2, 1}}, {{2, 8, 6, 17}, {9, 1, 1, 17}, {2, 0}},  {{1, 7, 7, 16}, {32, 1, 1, 16}, {2, 0}},
    {{3, 5, 3, 8}, {8, 1, 1, 8}, {1, 0}},    {{2, 7, 6, 5}, {7, 3, 3, 5}, {1, 0}},    {{1, 1, 1, 1}, {1, 3, 3, 1}, {1, 1}},
    {{5, 8, 8, 64}, {64, 3, 3, 64}, {1, 1}}, {{3, 11, 13, 48}, {32, 3, 3, 48}, {1, 1}},
};

// References take the rounded inputs, and sums are float32: what is left is the rounding of the result, half of 2^-7 at
// worst. A residual may be rounded in between as well.
constexpr double tolerance = 1.0 / 256;

bool lacks_bfloat16() {
    const std::string obstacle = cpu_bfloat16_obstacle();
    if (!obstacle.empty()) MESSAGE("skipped: ", obstacle);
    return !obstacle.empty();
}

std::unique_ptr<Backend> backend_with(const std::string& method) {
    CpuOptions options;
    options.convolution = method;
    return make_cpu_backend(options);
}

}  // namespace

TEST_CASE("bfloat16: convolution forward equals its definition with every epilogue") {
    if (lacks_bfloat16()) return;
    for (const std::string method : {"direct", "auto"}) {
        const auto backend = backend_with(method);
        for (const Case& c : cases) {
            const NaiveConvolution naive(c.x, c.w, c.convolution);
            RoundedBuffer x(c.x), w(c.w), bias({c.w[0]}), residual(naive.y);
            x.fill_random(1), w.fill_random(2), bias.fill_random(3), residual.fill_random(4);
            const Values products = naive.forward(x.values().data(), w.values().data());
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
                RoundedBuffer y(naive.y);
                backend->convolution_forward(y.tensor(), x.tensor(), w.tensor(), c.convolution, epilogue);
                CHECK(relative_difference(y, expected) < tolerance);
            }
        }
    }
}

TEST_CASE("bfloat16: convolution backward by data and by filter equal their definitions") {
    if (lacks_bfloat16()) return;
    for (const std::string method : {"direct", "auto"}) {
        const auto backend = backend_with(method);
        for (const Case& c : cases) {
            const NaiveConvolution naive(c.x, c.w, c.convolution);
            RoundedBuffer x(c.x), w(c.w), dL_dy(naive.y), dL_dx(c.x), dL_dw(c.w);
            x.fill_random(1), w.fill_random(2), dL_dy.fill_random(5);
            backend->convolution_backward_data(dL_dx.tensor(), dL_dy.tensor(), w.tensor(), c.convolution);
            backend->convolution_backward_filter(dL_dw.tensor(), x.tensor(), dL_dy.tensor(), c.convolution);
            CAPTURE(method);
            CAPTURE(c.x.text());
            CAPTURE(c.w.text());
            CAPTURE(c.convolution.stride);
            Values expected = naive.backward_data(dL_dy.values().data(), w.values().data());
            CHECK(relative_difference(dL_dx, expected) < tolerance);
            RoundedBuffer sum(c.x);
            sum.fill_random(6);
            for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += double{sum[static_cast<std::int64_t>(i)]};
            backend->convolution_backward_data(sum.tensor(), dL_dy.tensor(), w.tensor(), c.convolution, true);
            CHECK(relative_difference(sum, expected) < tolerance);
            CHECK(relative_difference(dL_dw, naive.backward_filter(x.values().data(), dL_dy.values().data())) < tolerance);
        }
    }
}

TEST_CASE("bfloat16: a call names its type, and operands of two types are refused") {
    RoundedBuffer x({1, 4, 4, 2}), w({3, 3, 3, 2}), y({1, 4, 4, 3}), bias({3});
    Buffer single({1, 4, 4, 3}), single_bias({3});
    const auto call = convolution_call(Direction::forward, y.tensor(), x.tensor(), w.tensor(), {});
    CHECK(call.text() == "forward x(1, 4, 4, 2) w(3, 3, 3, 2) stride 1 padding 1 bf16");
    CHECK(convolution_call(Direction::forward, y.tensor(), x.tensor(), w.tensor(), {}, {bias.tensor(), {}, false}).bias);
    CHECK_THROWS_WITH_AS(convolution_call(Direction::forward, single.tensor(), x.tensor(), w.tensor(), {}),
                         doctest::Contains("bf16 of a tensor of f32"), Error);
    CHECK_THROWS_WITH_AS(convolution_call(Direction::forward, y.tensor(), x.tensor(), w.tensor(), {}, {single_bias.tensor(), {}, false}),
                         doctest::Contains("bf16 of a tensor of f32"), Error);
}

TEST_CASE("bfloat16: sums are rounded once, copies are exact, conversions go to the nearest") {
    constexpr std::int64_t size = 5003;  // several threads' shares, no multiple of a vector
    RoundedBuffer a({size}), b({size}), sum({size}), rounded({size}), filled({size});
    Buffer single({size}), widened({size});
    a.fill_random(1), b.fill_random(2), single.fill_random(3);
    copy({}, sum.tensor(), a.tensor());
    CHECK(sum.values() == a.values());
    add_to({}, sum.tensor(), b.tensor());
    convert({}, rounded.tensor(), single.tensor());
    convert({}, widened.tensor(), rounded.tensor());
    fill({}, filled.tensor(), 0.3f);
    std::int64_t changed = 0;
    for (std::int64_t i = 0; i < size; ++i) {
        CHECK(sum[i] == static_cast<float>(bfloat16(a[i] + b[i])));
        CHECK(rounded[i] == static_cast<float>(bfloat16(single[i])));
        CHECK(widened[i] == rounded[i]);
        CHECK(filled[i] == static_cast<float>(bfloat16(0.3f)));
        changed += rounded[i] != single[i];
    }
    CHECK(changed > size / 2);
}

TEST_CASE("SGD on master copies: gradients come in bfloat16, the new values go back rounded") {
    constexpr std::int64_t size = 4999, filters = 4321;
    const auto backend = make_cpu_backend();
    PersistentArena memory(*backend);
    Buffer values({size}), gradients({size}), lr({1});
    values.fill_random(1), gradients.fill_random(3);
    lr.data()[0] = 1e-3f;
    RoundedBuffer rounded({filters}), rounded_gradients({filters});
    rounded_gradients.fill_random(4);
    std::vector<double> expected_values, expected_momenta;
    OptimizerState sgd(*backend, memory, *make_optimizer("SGD"), values.tensor());
    const Tensor momenta = sgd.slots()[0].tensor;
    for (std::int64_t i = 0; i < size; ++i) momenta.as<float>()[i] = std::sin(static_cast<float>(i));
    for (std::int64_t i = 0; i < size; ++i) {
        const double gradient = i < filters ? double{rounded_gradients[i]} : double{gradients[i]};
        expected_momenta.push_back(0.9 * momenta.as<float>()[i] + gradient + 5e-4 * values[i]);
        expected_values.push_back(values[i] - 1e-3 * expected_momenta.back());
    }
    const auto step = [&](Buffer& given, RoundedBuffer& copies) {
        sgd.update(values.tensor(), given.tensor(), lr.tensor(), {copies.tensor(), rounded_gradients.tensor()});
    };
    step(gradients, rounded);
    CHECK(relative_difference(values, expected_values) < 1e-6);
    CHECK(relative_difference(momenta.as<float>(), expected_momenta) < 1e-6);
    for (std::int64_t i = 0; i < filters; ++i) CHECK(rounded[i] == static_cast<float>(bfloat16(values[i])));
    Buffer short_gradients({size - 1});
    RoundedBuffer few({filters - 1});
    CHECK_THROWS_AS(step(short_gradients, rounded), Error);
    CHECK_THROWS_AS(step(gradients, few), Error);
}
