// The float32 functions of losses/numeric.h against double.
#include "losses/numeric.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

using namespace mlkd;

namespace {

// The largest error relative to the exact value, in units of 2^-24 (half an ulp at most), over x in [low, high].
template <class Ours, class Exact>
double worst(Ours ours, Exact exact, float low, float high) {
    std::mt19937 random(5);
    std::uniform_real_distribution<float> uniform(low, high);
    double worst = 0;
    for (int i = 0; i < 400000; ++i) {
        const float x = uniform(random);
        const double truth = exact(static_cast<double>(x));
        if (truth != 0) worst = std::max(worst, std::fabs((static_cast<double>(ours(x)) - truth) / truth));
    }
    return worst * 0x1p24;
}

}  // namespace

TEST_CASE("numeric: exp") {
    CHECK(worst(
              [](float x) { return fast_exp(x); }, [](double x) { return std::exp(x); }, -87.0f, 88.0f) < 3);
    CHECK(worst(
              [](float x) { return fast_exp(x); }, [](double x) { return std::exp(x); }, -1.0f, 1.0f) < 3);
    CHECK(fast_exp(0.0f) == 1.0f);
    CHECK(fast_exp(-87.5f) == 0.0f);
    CHECK(fast_exp(-1e30f) == 0.0f);
    CHECK(fast_exp(-INFINITY) == 0.0f);
    CHECK(std::isnan(fast_exp(NAN)));
}

TEST_CASE("numeric: exp(x) - 1 - x keeps its digits near 0") {
    const auto exact = [](double x) {
        if (std::fabs(x) > 0.02) return std::expm1(x) - x;
        return x * x * (0.5 + x * (1.0 / 6 + x * (1.0 / 24 + x * (1.0 / 120 + x * (1.0 / 720 + x / 5040)))));
    };
    for (float limit : {0.5f, 1e-2f, 1e-5f}) CHECK(worst(expm1_minus_x, exact, -limit, limit) < 4);
    CHECK(expm1_minus_x(0.0f) == 0.0f);
}

TEST_CASE("numeric: log") {
    CHECK(worst(
              fast_log, [](double x) { return std::log(x); }, 1.5f, 1e5f) < 5);
    CHECK(worst(
              fast_log, [](double x) { return std::log(x); }, 1e-30f, 1e-29f) < 5);
    double absolute = 0;
    for (float x = 0.5f; x < 2; x += 1e-5f)
        absolute = std::max(absolute, std::fabs(static_cast<double>(fast_log(x)) - std::log(static_cast<double>(x))));
    CHECK(absolute < 1e-7);
    CHECK(fast_log(1.0f) == 0.0f);
}

TEST_CASE("numeric: x - log(1 + x) keeps its digits near 0") {
    const auto exact = [](double x) {
        if (std::fabs(x) > 0.01) return x - std::log1p(x);
        return x * x * (0.5 - x * (1.0 / 3 - x * (1.0 / 4 - x * (1.0 / 5 - x * (1.0 / 6 - x / 7)))));
    };
    for (float limit : {0.3f, 1e-2f, 1e-5f}) CHECK(worst(x_minus_log1p, exact, -limit, limit) < 6);
    CHECK(x_minus_log1p(0.0f) == 0.0f);
}
