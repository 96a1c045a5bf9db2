// Optimizers against PyTorch's formulas in double, by plain loops.
#include "engine/optimizers/optimizers.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "engine/backend.h"
#include "engine/error.h"
#include "tests/engine/buffers.h"
#include "tests/support/recording_backend.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

constexpr std::int64_t size = 77;
constexpr int steps = 5;

struct Result {
    std::vector<double> values;
    std::vector<std::vector<double>> slots;
};

template <class T>
std::vector<double> doubles(const Tensor& tensor) {
    return {tensor.as<T>(), tensor.as<T>() + tensor.elements()};
}

// Steps from random values along random gradients; the rate changes in the middle.
template <class T>
Result updated(Backend& backend, const Optimizer& optimizer) {
    PersistentArena memory(backend);
    BufferOf<T> values({size}), gradients({size}), lr({1});
    values.fill_random(1);
    OptimizerState state(backend, memory, optimizer, values.tensor());
    for (int step = 0; step < steps; ++step) {
        gradients.fill_random(static_cast<std::uint32_t>(2 + step));
        lr.data()[0] = static_cast<T>(step < 3 ? 0.05 : 0.005);
        state.update(values.tensor(), gradients.tensor(), lr.tensor());
    }
    Result result{doubles<T>(values.tensor()), {}};
    for (const auto& [name, slot] : state.slots()) result.slots.push_back(doubles<T>(slot));
    return result;
}

// update(i, value, gradient, lr, step) returns the new value; step from 1.
template <class T, class Update>
std::vector<double> naive(const Update& update) {
    BufferOf<T> values({size}), gradients({size});
    values.fill_random(1);
    std::vector<double> w;
    for (std::int64_t i = 0; i < size; ++i) w.push_back(double{values[i]});
    for (int step = 0; step < steps; ++step) {
        gradients.fill_random(static_cast<std::uint32_t>(2 + step));
        for (std::size_t i = 0; i < w.size(); ++i)
            w[i] = update(i, w[i], double{gradients[static_cast<std::int64_t>(i)]}, step < 3 ? 0.05 : 0.005, step + 1);
    }
    return w;
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return std::sqrt(difference / norm);
}

template <class T>
constexpr double tolerance = sizeof(T) == 8 ? 1e-13 : 1e-6;

}  // namespace

TEST_CASE_TEMPLATE("SGD: momentum, weight decay and Nesterov's look ahead as PyTorch's", T, float, double) {
    const auto backend = make_cpu_backend();
    for (const bool nesterov : {false, true}) {
        CAPTURE(nesterov);
        std::vector<double> momenta(size, 0.0);
        const std::vector<double> expected = naive<T>([&](std::size_t i, double w, double g, double lr, int step) {
            const double d = g + 1e-3 * w;
            momenta[i] = step == 1 ? d : 0.8 * momenta[i] + d;
            return w - lr * (nesterov ? d + 0.8 * momenta[i] : momenta[i]);
        });
        const auto sgd = make_optimizer("SGD", {{"momentum", 0.8}, {"weight_decay", 1e-3}, {"nesterov", nesterov ? 1.0 : 0.0}});
        const Result got = updated<T>(*backend, *sgd);
        CHECK(apart(got.values, expected) < tolerance<T>);
        CHECK(apart(got.slots.at(0), momenta) < tolerance<T>);
    }
}

TEST_CASE_TEMPLATE("AdamW: decoupled weight decay and bias correction as PyTorch's", T, float, double) {
    const auto backend = make_cpu_backend();
    std::vector<double> m(size, 0.0), v(size, 0.0);
    const double beta1 = 0.85, beta2 = 0.99, epsilon = 1e-3, decay = 0.1;
    const std::vector<double> expected = naive<T>([&](std::size_t i, double w, double g, double lr, int step) {
        w *= 1 - lr * decay;
        m[i] += (g - m[i]) * (1 - beta1);
        v[i] = v[i] * beta2 + g * g * (1 - beta2);
        const double correction1 = 1 - std::pow(beta1, step), correction2 = 1 - std::pow(beta2, step);
        return w - lr / correction1 * m[i] / (std::sqrt(v[i]) / std::sqrt(correction2) + epsilon);
    });
    const auto adamw = make_optimizer("AdamW", {{"beta1", beta1}, {"beta2", beta2}, {"epsilon", epsilon}, {"weight_decay", decay}});
    const Result got = updated<T>(*backend, *adamw);
    CHECK(apart(got.values, expected) < tolerance<T>);
    CHECK(apart(got.slots.at(0), m) < tolerance<T>);
    CHECK(apart(got.slots.at(1), v) < tolerance<T>);
}

TEST_CASE("optimizers: a recorded step, replayed, gives the bits of updates that are launched") {
    for (const char* name : {"SGD", "AdamW"}) {
        CAPTURE(name);
        RecordingBackend backend;
        PersistentArena memory(backend);
        const auto optimizer = make_optimizer(name);
        BufferOf<float> launched({size}), replayed({size}), gradients({size}), lr({1});
        launched.fill_random(1), replayed.fill_random(1), gradients.fill_random(2);
        lr.data()[0] = 0.01f;
        OptimizerState first(backend, memory, *optimizer, launched.tensor()), second(backend, memory, *optimizer, replayed.tensor());
        for (int step = 0; step < 4; ++step) first.update(launched.tensor(), gradients.tensor(), lr.tensor());
        const auto recording = backend.record([&] { second.update(replayed.tensor(), gradients.tensor(), lr.tensor()); });
        REQUIRE(recording != nullptr);
        for (int step = 0; step < 4; ++step) recording->replay();
        CHECK(launched.values() == replayed.values());
    }
}

TEST_CASE("optimizers: shapes that differ and names that are not there are refused") {
    const auto backend = make_cpu_backend();
    PersistentArena memory(*backend);
    Buffer values({size}), few({size - 1}), lr({1});
    values.fill_random(1), few.fill_random(2), lr.fill_random(3);
    OptimizerState state(*backend, memory, *make_optimizer("SGD"), values.tensor());
    CHECK_THROWS_AS(state.update(values.tensor(), few.tensor(), lr.tensor()), Error);
    CHECK_THROWS_AS(state.update(few.tensor(), few.tensor(), lr.tensor()), Error);
    CHECK_THROWS_WITH_AS(make_optimizer("Adam"), "no part is called 'Adam'", Error);
    CHECK_THROWS_WITH_AS(make_optimizer("AdamW", {{"momentum", 0.9}}), "AdamW: has no setting 'momentum' of this type", Error);
    CHECK_THROWS_WITH_AS(make_optimizer("SGD", {{"momentum", 1.0}}), "SGD: momentum has a value that is not allowed", Error);
    CHECK_THROWS_AS(make_optimizer("SGD", {{"momentum", 0.0}, {"nesterov", 1.0}})->check(), UsageError);
}
