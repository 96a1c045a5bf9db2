// Whole networks in float64, the reference precision.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "naive.h"
#include "passes.h"

using namespace mlkd;

namespace {

double dot(const std::vector<double>& a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
}

}  // namespace

TEST_CASE("networks in float64: the gradient is that of the loss, along random directions") {
    const auto backend = make_cpu_backend();
    for (const std::string name : {"resnet8", "wrn_16_1"}) {
        CAPTURE(name);
        BuffersOf<double> buffers(29);
        const Tensor images = buffers.input({2, 32, 32, 3}, -2, 2), weight = buffers.input({2, 7});
        const auto network = make_network(*backend, name, {7, Role::trained, DType::f64});
        network->parameters().initialise(5);
        const std::vector<double> seed = values(weight);
        test::train(*network, images, weight);
        const std::vector<double> gradient = values(network->parameters().gradients()), start = values(network->parameters().values());
        double* w = network->parameters().values().as<double>();
        for (int direction = 0; direction < 4; ++direction) {
            const std::vector<double> d = values(buffers.input({static_cast<std::int64_t>(start.size())}));
            const auto moved = [&](double step) {
                for (std::size_t i = 0; i < start.size(); ++i) w[i] = start[i] + step * d[i];
                const double loss = dot(test::train(*network, images, weight), seed);
                std::copy(start.begin(), start.end(), w);
                return loss;
            };
            // The loss is smooth but for kinks: h is so small that a step crosses one of 10⁵ pre-activations rarely, and
            // then with an effect of the order of h. Rounding costs 1e-16 / h.
            const double h = 2e-8;
            const double slope = (moved(h) - moved(-h)) / (2 * h), expected = dot(gradient, d);
            CHECK(std::abs(slope - expected) < 1e-6 * std::sqrt(dot(gradient, gradient)));
        }
    }
}

TEST_CASE("networks: float32 is float64 but for rounding, in training and in evaluation") {
    const auto backend = make_cpu_backend();
    for (const std::string name : {"resnet20", "resnet8x4", "wrn_16_2"}) {
        CAPTURE(name);
        Buffers buffers(31);
        BuffersOf<double> doubles(31);
        const Tensor images = buffers.input({3, 32, 32, 3}, -2, 2), weight = buffers.input({3, 10});
        const Tensor wide_images = doubles.output(images.shape), wide_weight = doubles.output(weight.shape);
        convert({}, wide_images, images);
        convert({}, wide_weight, weight);
        const auto single = make_network(*backend, name, {10, Role::trained}), wide = make_network(*backend, name, {10, Role::trained, DType::f64});
        single->parameters().initialise(1);
        wide->parameters().set_state(single->parameters().state(), "the float32 network");
        CHECK(values(wide->parameters().values()) == values(single->parameters().values()));
        CHECK(naive::relative_error(test::evaluate(*single, images), test::evaluate(*wide, wide_images)) < 1e-5);
        CHECK(naive::relative_error(test::train(*single, images, weight), test::train(*wide, wide_images, wide_weight)) <
              1e-5);
        CHECK(naive::relative_error(values(single->parameters().statistics()), values(wide->parameters().statistics())) < 1e-5);
        // The state goes out rounded, element by element.
        const auto state = wide->parameters().state();
        const Parameter& last = wide->parameters().parameters().back();
        for (std::int64_t i = 0; i < last.shape.elements(); ++i)
            CHECK(state.at(last.name).as<float>()[static_cast<std::size_t>(i)] == static_cast<float>(last.value.as<double>()[i]));
    }
}

TEST_CASE("networks: images of another precision and precisions that do not compute are refused") {
    const auto backend = make_cpu_backend();
    Buffers buffers(1);
    const auto network = make_network(*backend, "resnet8", {10, Role::frozen, DType::f64});
    const Tensor images = buffers.input({1, 32, 32, 3});
    CHECK_THROWS_WITH_AS(network->evaluate(images), "network resnet8 computes in f64, its images are f32", Error);
    CHECK_THROWS_WITH_AS(make_network(*backend, "resnet8", {10, Role::frozen, DType::u8}), doctest::Contains("f32, f64 or bf16, not in u8"), UsageError);
}
