#include "losses/cross_entropy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "tests/losses/problem.h"

using namespace mlkd;

// The reference precision: float32's roundings would show at 1e-7.
TEST_CASE("cross entropy: in float64 to float64's digits") {
    const std::unique_ptr<Backend> backend = test::make_plain_backend();
    std::mt19937 random(3);
    std::normal_distribution<double> normal;
    for (const auto& [samples, views, classes] : {std::array{1, 1, 2}, std::array{3, 2, 7}, std::array{13, 1, 101}}) {
        CAPTURE(classes);
        const auto rows = static_cast<std::size_t>(samples * views), width = static_cast<std::size_t>(classes);
        std::vector<double> logits(rows * width);
        for (double& logit : logits) logit = 4 * normal(random);
        std::vector<std::int32_t> target(static_cast<std::size_t>(samples));
        for (std::int32_t& y : target) y = static_cast<std::int32_t>(random() % static_cast<unsigned>(classes));
        const double nan = std::numeric_limits<double>::quiet_NaN(), sentinel = -77, weight = 1.0 / 3;
        std::vector<double> row_loss(rows + 1, nan), gradient(rows * width + 1, nan);
        row_loss.back() = gradient.back() = sentinel;

        cross_entropy(backend->stream(), view_of(row_loss.data(), {samples * views}), view_of(gradient.data(), {samples * views, classes}),
                      view_of(logits.data(), {samples * views, classes}), view_of(target.data(), {samples}), weight, 0);

        CHECK((row_loss.back() == sentinel && gradient.back() == sentinel));
        for (std::size_t row = 0; row < rows; ++row) {
            const double* x = logits.data() + row * width;
            const auto y = static_cast<std::size_t>(target[row % target.size()]);
            long double sum = 0;
            for (std::size_t c = 0; c < width; ++c) sum += std::exp(static_cast<long double>(x[c]));
            CHECK(row_loss[row] == doctest::Approx(static_cast<double>(std::log(sum) - x[y])).epsilon(1e-13));
            for (std::size_t c = 0; c < width; ++c) {
                const auto p = static_cast<double>(std::exp(static_cast<long double>(x[c])) / sum);
                CHECK(gradient[row * width + c] == doctest::Approx(weight * (p - (c == y ? 1 : 0))).epsilon(1e-12));
            }
        }
    }
}

namespace {

// -Σ q log p of the rows, times weight; for each row.
std::vector<double> smoothed(const std::vector<double>& logits, const std::vector<std::int32_t>& target, std::size_t classes,
                             double smoothing) {
    std::vector<double> losses;
    for (std::size_t row = 0; row * classes < logits.size(); ++row) {
        const double* x = logits.data() + row * classes;
        long double sum = 0, loss = 0;
        for (std::size_t c = 0; c < classes; ++c) sum += std::exp(static_cast<long double>(x[c]));
        for (std::size_t c = 0; c < classes; ++c) {
            const bool label = c == static_cast<std::size_t>(target[row % target.size()]);
            loss -= ((label ? 1 - smoothing : 0) + smoothing / static_cast<double>(classes)) * (x[c] - std::log(sum));
        }
        losses.push_back(static_cast<double>(loss));
    }
    return losses;
}

}  // namespace

TEST_CASE("cross entropy: label smoothing, its gradient by finite differences, by one thread and by teams") {
    constexpr std::size_t samples = 5, classes = 7, rows = 2 * samples;
    constexpr double weight = 0.3, smoothing = 0.15;
    std::mt19937 random(11);
    std::normal_distribution<double> normal;
    std::vector<double> logits(rows * classes);
    for (double& logit : logits) logit = 3 * normal(random);
    std::vector<std::int32_t> target(samples);
    for (std::int32_t& y : target) y = static_cast<std::int32_t>(random() % classes);
    logits[static_cast<std::size_t>(target[0])] = 9;  // a label that has the largest logit
    const std::vector<double> expected = smoothed(logits, target, classes, smoothing);
    std::vector<double> slopes;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        std::vector<double> above = logits, below = logits;
        above[i] += 1e-5;
        below[i] -= 1e-5;
        slopes.push_back(
            weight * (smoothed(above, target, classes, smoothing)[i / classes] - smoothed(below, target, classes, smoothing)[i / classes]) /
            2e-5);
    }
    const auto check = [&]<class T>(T, int teams, int team_size, double tolerance) {
        const std::unique_ptr<Backend> backend = test::make_plain_backend(teams, team_size);
        std::vector<T> x(logits.begin(), logits.end()), row_loss(rows), gradient(x.size());
        cross_entropy(backend->stream(), view_of(row_loss.data(), {rows}), view_of(gradient.data(), {rows, classes}),
                      view_of(x.data(), {rows, classes}), view_of(target.data(), {samples}), weight, smoothing);
        CHECK(test::relative_error(std::vector<double>(row_loss.begin(), row_loss.end()), expected) < tolerance);
        CHECK(test::relative_error(std::vector<double>(gradient.begin(), gradient.end()), slopes) < std::max(tolerance, 1e-9));
    };
    for (const auto& [teams, team_size] : {std::pair{0, 0}, std::pair{1, 3}, std::pair{2, 4}}) {
        CAPTURE(team_size);
        check(double{}, teams, team_size, 1e-14);
        check(float{}, teams, team_size, 1e-6);
    }
}
