#include "losses/meters/accuracy.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/losses/problem.h"

using namespace mlkd;

namespace {

struct Counts {
    double top1 = 0, top5 = 0, cross_entropy = 0;
};

Counts naive(const std::vector<float>& logits, const std::vector<std::int32_t>& target, std::size_t classes) {
    Counts counts;
    for (std::size_t n = 0; n < target.size(); ++n) {
        const float* x = logits.data() + n * classes;
        const auto y = static_cast<std::size_t>(target[n]);
        double sum = 0;
        bool has_nan = false;
        std::vector<std::size_t> order(classes);
        for (std::size_t c = 0; c < classes; ++c) {
            order[c] = c;
            sum += std::exp(static_cast<double>(x[c]) - x[y]);
            has_nan = has_nan || std::isnan(x[c]);
        }
        counts.cross_entropy += std::log(sum);
        if (has_nan) continue;
        std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return x[a] > x[b]; });
        const auto rank = std::find(order.begin(), order.end(), y) - order.begin();
        counts.top1 += rank < 1;
        counts.top5 += rank < 5;
    }
    return counts;
}

// Adds the batch twice, to counters that already hold something.
Counts ours(Backend& backend, std::vector<float> logits, std::vector<std::int32_t> target, std::int64_t classes) {
    StepArena arena(backend);
    double counters[] = {-77, 100, 200, 300, -77};
    const auto rows = static_cast<std::int64_t>(target.size());
    for (int repetition = 0; repetition < 2; ++repetition) {
        arena.begin("accuracy");
        accumulate_accuracy(backend.stream(), arena, view_of(counters + 1, {accuracy_counter_count}),
                            view_of(logits.data(), {rows, classes}), view_of(target.data(), {rows}));
        arena.end();
    }
    CHECK((counters[0] == -77 && counters[4] == -77));
    return {(counters[1] - 100) / 2, (counters[2] - 200) / 2, (counters[3] - 300) / 2};
}

void check_all(Backend& backend) {
    for (const auto& [rows, classes] : {std::pair{1, 2}, std::pair{3, 4}, std::pair{37, 10}, std::pair{64, 101}}) {
        CAPTURE(classes);
        DistillationConfig config;
        test::Problem problem = test::make_problem(config, rows, classes, 2, 0);
        for (std::size_t i = 0; i < problem.student.size(); i += 2) problem.student[i] = std::round(problem.student[i]);  // ties
        const Counts expected = naive(problem.student, problem.target, static_cast<std::size_t>(classes));
        const Counts counts = ours(backend, problem.student, problem.target, classes);
        CHECK(counts.top1 == expected.top1);
        CHECK(counts.top5 == expected.top5);
        CHECK(counts.cross_entropy == doctest::Approx(expected.cross_entropy).epsilon(1e-6));
    }
}

// Two steps of one launch each, for counters and meter; without a meter nothing is added to it.
void check_meter(Backend& backend) {
    PersistentArena memory(backend);
    StepArena arena(backend);
    LossMeter meter(backend, memory, 5);
    std::vector<float> logits{3, 1, 2, 0, 5, 0}, losses{0.5f, 1, 2, 4, 7.5f};
    std::vector<std::int32_t> target{0, 2};
    double counters[accuracy_counter_count] = {};
    const auto add = [&](const AddLosses& adding) {
        arena.begin("step");
        accumulate_accuracy(backend.stream(), arena, view_of(counters, {accuracy_counter_count}), view_of(logits.data(), {2, 3}),
                            view_of(target.data(), {2}), adding);
        arena.end();
    };
    const Tensor parts = view_of(losses.data(), {5});
    add(meter.adding(parts, 2));
    add({});
    losses[3] = std::numeric_limits<float>::infinity();
    add(meter.adding(parts, 3));
    losses[1] = std::numeric_limits<float>::quiet_NaN();
    add(meter.adding(parts, 1));
    const LossMeter::Reading reading = meter.read();
    CHECK(reading.sums[0] == 0.5 * 6);
    CHECK(std::isnan(reading.sums[1]));
    CHECK(reading.sums[2] == 2.0 * 6);
    CHECK(reading.sums[4] == 7.5 * 6);
    CHECK(reading.samples == 6);
    CHECK(reading.steps == 3);
    CHECK(reading.bad_step == 1);
    CHECK(reading.bad_part == 3);
    CHECK(counters[AccuracyCounter::top1] == 4);
    CHECK(counters[AccuracyCounter::top5] == 8);
}

}  // namespace

TEST_CASE("accuracy: counts and cross entropy") { check_all(*test::make_plain_backend()); }

TEST_CASE("accuracy: the meter adds losses up and notes the first that is not finite") { check_meter(*test::make_plain_backend()); }

TEST_CASE("accuracy: equal logits rank by class") {
    const std::unique_ptr<Backend> backend = test::make_plain_backend();
    const std::vector<float> equal(7, 1.5f);
    for (std::int32_t y = 0; y < 7; ++y) {
        const Counts counts = ours(*backend, equal, {y}, 7);
        CHECK(counts.top1 == (y == 0));
        CHECK(counts.top5 == (y < 5));
    }
}

TEST_CASE("accuracy: a row with a NaN is never correct") {
    const std::unique_ptr<Backend> backend = test::make_plain_backend();
    const float nan = std::numeric_limits<float>::quiet_NaN();
    for (const std::vector<float>& row :
         {std::vector<float>{nan, 0, 0}, std::vector<float>{9, nan, 0}, std::vector<float>{nan, nan, nan}}) {
        const Counts counts = ours(*backend, row, {0}, 3);
        CHECK(counts.top1 == 0);
        CHECK(counts.top5 == 0);
        CHECK(std::isnan(counts.cross_entropy));
    }
}

TEST_SUITE("team") {
    TEST_CASE("accuracy: the same under teams of threads") {
        for (const auto& [teams, size] : {std::pair{2, 3}, std::pair{3, 5}, std::pair{1, 8}}) {
            check_all(*test::make_plain_backend(teams, size));
            check_meter(*test::make_plain_backend(teams, size));
        }
    }
}
