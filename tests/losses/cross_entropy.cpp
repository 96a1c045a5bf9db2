#include "losses/cross_entropy.h"

#include <doctest/doctest.h>

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
                      view_of(logits.data(), {samples * views, classes}), view_of(target.data(), {samples}), weight);

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
