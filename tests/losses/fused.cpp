// The loss in one launch: against the naive definitions, against the launches around matrix products, under teams.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/error.h"
#include "tests/losses/configs.h"

using namespace mlkd;

namespace {

bool can_fuse(const DistillationConfig& config) {
    return config.divergence == Divergence::frobenius || config.levels == Levels::none || config.levels == Levels::instance;
}

// Every configuration that one launch can do, and some that only matter to it.
std::vector<std::pair<std::string, DistillationConfig>> configs() {
    std::vector<std::pair<std::string, DistillationConfig>> configs = test::all_configs();
    std::erase_if(configs, [](const auto& entry) { return !can_fuse(entry.second); });
    configs.emplace_back("kd of no weight", test::config_of(Levels::instance, {4}));
    configs.back().second.kd_weight = 0;
    DistillationConfig many = test::config_of(Levels::paper, {4, 3, 5, 2, 6, 1.5f, 2.5f, 3.5f, 7, 8, 9});  // 22 shares of the gradient
    configs.emplace_back("mlkd of eleven T", many);
    DistillationConfig masked = test::config_of(Levels::released, {4, 3, 5, 2}, Divergence::frobenius, true);
    masked.batch_weight = masked.class_weight = 0;  // masks without a correlation
    configs.emplace_back("official, instance level alone, standardized", masked);
    return configs;
}

void check_against(const test::Outcome& ours, const test::Outcome& expected, double tolerance) {
    const test::Errors errors = test::errors_of(ours, expected);
    CHECK(errors.value < tolerance);
    CHECK(errors.gradient < tolerance);
}

}  // namespace

TEST_CASE("one launch: every method against the naive definitions and against many launches") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const std::pair<std::int64_t, std::int64_t> shapes[] = {{1, 2},   {3, 2},   {5, 7},    {8, 4},    {9, 10},
                                                            {33, 57}, {57, 33}, {64, 100}, {100, 64}, {17, 256}};
    for (const auto& [name, config] : configs())
        for (const auto& [samples, classes] : shapes) {
            if (config.logit_standardization && classes == 2) continue;  // rows of ±√½: what is left of a difference is rounding
            CAPTURE(name);
            CAPTURE(samples);
            CAPTURE(classes);
            const test::Problem problem = test::make_problem(config, samples, classes, 3, 2);
            const test::Outcome fused = test::run(*backend, problem, 2, LossForm::fused);
            check_against(fused, test::reference(problem), 2e-6);
            check_against(fused, test::run(*backend, problem, 1, LossForm::separate), 2e-6);
        }
}

TEST_CASE("one launch: several chunks of samples, and the largest shapes") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [samples, classes] : {std::pair{70, 256}, std::pair{131, 250}, std::pair{256, 10}, std::pair{256, 256}})
        for (const DistillationConfig& config : {test::config_of(Levels::released, {4, 2}), test::config_of(Levels::paper, {3})}) {
            CAPTURE(samples);
            CAPTURE(classes);
            const test::Problem problem = test::make_problem(config, samples, classes, 3, 2);
            check_against(test::run(*backend, problem, 1, LossForm::fused), test::reference(problem), 2e-6);
        }
}

TEST_CASE("one launch: no digits are lost close to the teacher, nor far from it") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const DistillationConfig& original : {test::config_of(Levels::paper, {4, 2}), test::config_of(Levels::released, {4, 2})})
        for (float distance : {3.0f, 1.0f, 0.1f, 1e-2f, 1e-3f, 1e-4f, 1e-5f})
            for (int level = 0; level < 4; ++level) {
                CAPTURE(distance);
                CAPTURE(level);
                DistillationConfig config = original;
                config.ce_weight = 0;  // its gradient would hide the others'
                if (level == 1) config.instance_weight = config.class_weight = 0;
                if (level == 2) config.instance_weight = config.batch_weight = 0;
                if (level == 3) config.batch_weight = config.class_weight = 0;
                const test::Problem problem = test::make_problem(config, 64, 100, 3, distance);
                check_against(test::run(*backend, problem, 1, LossForm::fused), test::reference(problem), 2e-6);
            }
}

TEST_CASE("one launch: nothing at equality, extreme logits, ties in the masks, NaN") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (auto [name, config] : configs()) {
        CAPTURE(name);
        for (float scale : {20.0f, 60.0f, 1e4f}) {
            CAPTURE(scale);
            const test::Problem problem = test::make_problem(config, 16, 10, scale, scale);
            const test::Outcome ours = test::run(*backend, problem, 1, LossForm::fused);
            for (double slope : ours.gradient) CHECK(std::isfinite(slope));
            const test::Outcome expected = test::reference(problem);
            CHECK(test::relative_error(ours.losses, expected.losses) < 2e-6);
            if (std::ranges::any_of(expected.gradient, [](double slope) { return std::fabs(slope) > 1e-30; }))
                CHECK(test::relative_error(ours.gradient, expected.gradient) < 2e-6);
        }
        test::Problem bad = test::make_problem(config, 4, 6, 3, 1);
        bad.student[8] = std::numeric_limits<float>::quiet_NaN();
        CHECK(!std::isfinite(test::run(*backend, bad, 2, LossForm::fused).losses[LossPart::total]));
        if (config.levels == Levels::none || config.kd_weight == 0) continue;
        bad.student[8] = 1;
        bad.teacher[9] = std::numeric_limits<float>::infinity();
        CHECK(!std::isfinite(test::run(*backend, bad, 2, LossForm::fused).losses[LossPart::total]));

        config.ce_weight = 0;
        const test::Outcome equal = test::run(*backend, test::make_problem(config, 11, 6, 20, 0), 1, LossForm::fused);
        for (double loss : equal.losses) CHECK(loss == 0);
        for (double slope : equal.gradient) CHECK(slope == 0);
    }
    for (std::int64_t samples : {4, 5, 8})
        for (std::size_t equal_rows : {2u, 3u, 4u}) {
            test::Problem problem = test::make_problem(test::config_of(Levels::released), samples, 6, 3, 1);
            for (std::size_t row = 1; row < equal_rows; ++row)  // the same teacher rows
                std::copy_n(problem.teacher.begin(), 6, problem.teacher.begin() + static_cast<std::ptrdiff_t>(row * 6));
            for (std::size_t row = 0; row < static_cast<std::size_t>(samples); ++row)  // three classes with the same mass
                problem.teacher[row * 6 + 1] = problem.teacher[row * 6 + 4] = problem.teacher[row * 6 + 2];
            check_against(test::run(*backend, problem, 1, LossForm::fused), test::reference(problem), 2e-6);
        }
}

TEST_CASE("one launch: what it cannot do is refused") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const auto refuses = [&](const DistillationConfig& config, std::int64_t samples, std::int64_t classes) {
        CHECK_THROWS_AS(test::run(*backend, test::make_problem(config, samples, classes, 3, 1), 1, LossForm::fused), Error);
    };
    refuses(test::config_of(Levels::paper, {4}, Divergence::kl), 4, 5);
    refuses(test::config_of(Levels::instance), 257, 5);
    refuses(test::config_of(Levels::instance), 4, 257);
}

TEST_SUITE("team") {
    // Seen to catch races under the tsan preset: see the notes at the end of docs/kernels.md.
    TEST_CASE("one launch: the same under teams of threads") {
        const std::unique_ptr<Backend> serial = test::make_plain_backend();
        struct Case {
            std::int64_t samples, classes;
            int teams, size;
        };
        for (const Case& c : {Case{1, 2, 2, 3}, Case{7, 13, 1, 2}, Case{19, 9, 3, 4}, Case{33, 57, 2, 6}, Case{70, 256, 4, 2}, Case{8, 256, 4, 2}}) {
            const std::unique_ptr<Backend> threaded = test::make_plain_backend(c.teams, c.size);
            for (const auto& [name, config] : configs()) {
                if (config.logit_standardization && c.classes == 2) continue;
                // 70 x 256: several chunks. 8 x 256: the row of masks is the slowest, and waited for.
                if (c.classes == 256 && name != "official of two T") continue;
                CAPTURE(name);
                CAPTURE(c.samples);
                const test::Problem problem = test::make_problem(config, c.samples, c.classes, 3, 1);
                check_against(test::run(*threaded, problem, 3, LossForm::fused), test::run(*serial, problem, 1, LossForm::separate), 2e-6);
            }
        }
    }
}
