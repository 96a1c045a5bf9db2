// Every method against the naive definitions, over shapes, distances and degenerate inputs.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include "tests/losses/configs.h"

using namespace mlkd;

TEST_CASE("losses: the naive reference against finite differences") {
    for (const auto& [name, config] : test::all_configs()) {
        if (config.levels == Levels::none) continue;
        CAPTURE(name);
        test::Problem problem = test::make_problem(config, 3, 4, 2, 1);
        const test::Outcome at = test::reference(problem);
        for (std::size_t i = 0; i < problem.student.size(); i += 5) {
            const float centre = problem.student[i];
            const float above = centre + 0x1p-9f, below = centre - 0x1p-9f;  // exact in float for these logits
            problem.student[i] = above;
            const double up = test::reference(problem).losses[LossPart::total];
            problem.student[i] = below;
            const double down = test::reference(problem).losses[LossPart::total];
            problem.student[i] = centre;
            const double slope = (up - down) / (static_cast<double>(above) - static_cast<double>(below));
            CHECK(at.gradient[i] == doctest::Approx(slope).epsilon(1e-4).scale(0.05));
        }
    }
}

TEST_CASE("losses: every method at odd shapes") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const std::pair<std::int64_t, std::int64_t> shapes[] = {{1, 2}, {1, 7}, {2, 2}, {3, 7}, {7, 3}, {5, 33}, {33, 5}, {33, 40}, {40, 33}};
    for (const auto& [name, config] : test::all_configs())
        for (const auto& [samples, classes] : shapes) {
            if (config.logit_standardization && classes == 2) continue;  // rows of ±√½: what is left of a difference is rounding
            CAPTURE(name);
            CAPTURE(samples);
            CAPTURE(classes);
            const test::Problem problem = test::make_problem(config, samples, classes, 3, 2);
            const test::Errors errors = test::errors_of(test::run(*backend, problem, 2), test::reference(problem));
            CHECK(errors.value < 2e-6);
            CHECK(errors.gradient < 2e-6);
        }
}

TEST_CASE("losses: many samples, many classes") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const DistillationConfig& config : {test::config_of(Levels::released, {4}), test::config_of(Levels::paper, {4}, Divergence::kl)})
        for (const auto& [samples, classes] : {std::pair{7, 1000}, std::pair{1, 1000}, std::pair{129, 65}, std::pair{65, 129}}) {
            CAPTURE(classes);
            CAPTURE(samples);
            const test::Problem problem = test::make_problem(config, samples, classes, 3, 2);
            const test::Errors errors = test::errors_of(test::run(*backend, problem), test::reference(problem));
            CHECK(errors.value < (samples == 1 ? 5e-6 : 2e-6));  // the batch level of one sample is one difference, squared
            CHECK(errors.gradient < 2e-6);
        }
}

// Sums of 20,000 numbers, of which some nearly cancel: the batch level of a student close to its teacher.
TEST_CASE("losses: thousands of classes") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const std::set<std::string> names = {"mlkd", "mlkd standardized", "official", "official of two T", "batch level alone"};
    std::size_t found = 0;
    for (const auto& [name, config] : test::all_configs())
        for (const float distance : {2.0f, 0.1f}) {
            if (!names.contains(name)) continue;
            ++found;
            CAPTURE(name);
            CAPTURE(distance);
            const test::Problem problem = test::make_problem(config, 16, 20011, 3, distance);
            const test::Errors errors = test::errors_of(test::run(*backend, problem), test::reference(problem));
            CHECK(errors.value < (distance < 1 ? 5e-7 : 2e-6));
            CHECK(errors.gradient < 2e-6);
        }
    CHECK(found == 2 * names.size());
}

TEST_CASE("losses: groups of terms and blocks of rows change nothing") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    DistillationConfig config = test::config_of(Levels::paper, {4}, Divergence::kl);
    config.levels = Levels::released;                                        // one correlating term
    const test::Problem blocks = test::make_problem(config, 3, 2501, 3, 2);  // 2501² entries take two blocks
    const test::Errors errors = test::errors_of(test::run(*backend, blocks, 2), test::reference(blocks));
    CHECK(errors.value < 2e-6);
    CHECK(errors.gradient < 2e-6);

    // 80 terms of 0.7 MiB take two groups; one by one they take one each.
    test::Problem groups = test::make_problem(test::config_of(Levels::paper, {}), 40, 1500, 3, 2);
    groups.config.ce_weight = 0;
    test::Outcome sum;
    sum.gradient.resize(groups.student.size());
    std::vector<float> temperatures;
    for (int i = 0; i < 40; ++i) {
        temperatures.push_back(1.0f + 0.25f * static_cast<float>(i));
        groups.config.temperatures = {temperatures.back()};
        const test::Outcome one = test::run(*backend, groups);
        for (std::size_t part = 0; part < loss_part_count; ++part) sum.losses[part] += one.losses[part];
        for (std::size_t k = 0; k < sum.gradient.size(); ++k) sum.gradient[k] += one.gradient[k];
    }
    groups.config.temperatures = temperatures;
    const test::Errors group_errors = test::errors_of(test::run(*backend, groups), sum);
    CHECK(group_errors.value < 1e-6);
    CHECK(group_errors.gradient < 1e-6);
}

// With MLKD_LOSS_TABLE set, prints the table of docs/losses.md.
TEST_CASE("losses: digits are kept however close the student is") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const bool print = std::getenv("MLKD_LOSS_TABLE") != nullptr;
    if (print) std::printf("| (B, C) | method | distance | value | gradient |\n|---|---|---|---|---|\n");
    struct Case {
        const char* name;
        DistillationConfig config;
    };
    Case cases[] = {{"kd", test::config_of(Levels::instance, {4})},
                    {"kd, standardised", test::config_of(Levels::instance, {2}, Divergence::frobenius, true)},
                    {"mlkd", test::config_of(Levels::paper, {4, 2})},
                    {"mlkd, batch level", test::config_of(Levels::paper, {4, 2})},
                    {"mlkd, class level", test::config_of(Levels::paper, {4, 2})},
                    {"mlkd, KL", test::config_of(Levels::paper, {4, 2}, Divergence::kl)},
                    {"mlkd, KL, batch level", test::config_of(Levels::paper, {4, 2}, Divergence::kl)},
                    {"mlkd, KL, class level", test::config_of(Levels::paper, {4, 2}, Divergence::kl)},
                    {"mlkd_official", test::config_of(Levels::released, {4, 2})}};
    for (Case& c : cases) {
        c.config.ce_weight = 0;  // its gradient would hide the others'
        const std::string name = c.name;
        if (name.ends_with("batch level")) c.config.instance_weight = c.config.class_weight = 0;
        if (name.ends_with("class level")) c.config.instance_weight = c.config.batch_weight = 0;
    }
    const std::vector<float> all_distances{3.0f, 1.0f, 0.1f, 1e-2f, 1e-3f, 1e-4f, 1e-5f}, few_distances{3.0f, 0.1f, 1e-5f};
    for (const auto& [samples, classes] : {std::pair{64, 100}, std::pair{100, 30}})
        for (const auto& [name, config] : cases)
            for (float distance : print ? all_distances : few_distances) {
                CAPTURE(name);
                CAPTURE(samples);
                CAPTURE(distance);
                const test::Problem problem = test::make_problem(config, samples, classes, 3, distance);
                const test::Errors errors = test::errors_of(test::run(*backend, problem), test::reference(problem));
                CHECK(errors.value < 2e-6);
                CHECK(errors.gradient < 2e-6);
                if (print)
                    std::printf("| (%d, %d) | %s | %.0e | %.1e | %.1e |\n", samples, classes, name, static_cast<double>(distance),
                                errors.value, errors.gradient);
            }
}

TEST_CASE("losses: extreme logits are finite and right") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [name, config] : test::all_configs())
        for (const auto& [samples, classes] : {std::pair{16, 10}, std::pair{4, 30}})
            for (float scale : {20.0f, 60.0f, 200.0f, 1e4f}) {
                CAPTURE(name);
                CAPTURE(scale);
                CAPTURE(samples);
                const test::Problem problem = test::make_problem(config, samples, classes, scale, scale);
                const test::Outcome ours = test::run(*backend, problem);
                for (double loss : ours.losses) CHECK(std::isfinite(loss));
                for (double slope : ours.gradient) CHECK(std::isfinite(slope));
                if (scale > 1e3f && config.divergence == Divergence::kl) continue;  // there even the reference's range ends
                const test::Outcome expected = test::reference(problem);
                CHECK(test::relative_error(ours.losses, expected.losses) < 2e-6);
                if (std::ranges::any_of(expected.gradient, [](double slope) { return std::fabs(slope) > 1e-30; }))
                    CHECK(test::relative_error(ours.gradient, expected.gradient) < 2e-6);
            }
}

TEST_CASE("losses: one network is sure and the other is not") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [name, config] : test::all_configs())
        for (int kind = 0; kind < 3; ++kind) {
            if (config.levels == Levels::none) continue;
            CAPTURE(name);
            CAPTURE(kind);
            test::Problem problem = test::make_problem(config, 8, 40, 1, 1e-2f);
            for (std::size_t row = 0; row < problem.student.size() / 40; ++row) {
                if (kind != 0) problem.student[row * 40 + (row * 7) % 40] += 25;                     // sure of the same class
                if (kind != 1) problem.teacher[row * 40 + (row * (kind == 2 ? 11 : 7)) % 40] += 25;  // or of another one
            }
            const test::Outcome ours = test::run(*backend, problem), expected = test::reference(problem);
            // Where the two are sure of different classes, small entries of the difference are what is left of large ones.
            CHECK(test::relative_error(ours.losses, expected.losses) < (kind == 2 ? 1e-5 : 2e-6));
            CHECK(test::relative_error(ours.gradient, expected.gradient) < (kind == 2 ? 1e-5 : 2e-6));
        }
}

TEST_CASE("losses: ties in the official masks") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const DistillationConfig config = test::config_of(Levels::released);
    for (std::int64_t samples : {4, 5, 8})
        for (int equal_rows : {2, 3, 4}) {
            CAPTURE(samples);
            CAPTURE(equal_rows);
            test::Problem problem = test::make_problem(config, samples, 6, 3, 1);
            for (std::size_t row = 1; row < static_cast<std::size_t>(equal_rows); ++row)  // the same teacher rows
                std::copy_n(problem.teacher.begin(), 6, problem.teacher.begin() + static_cast<std::ptrdiff_t>(row * 6));
            for (std::size_t row = 0; row < static_cast<std::size_t>(samples); ++row)  // three classes with the same mass
                problem.teacher[row * 6 + 1] = problem.teacher[row * 6 + 4] = problem.teacher[row * 6 + 2];
            const test::Errors errors = test::errors_of(test::run(*backend, problem), test::reference(problem));
            CHECK(errors.value < 1e-6);
            CHECK(errors.gradient < 2e-6);
        }
    // All samples sure beyond what a double can tell from 1: all are in the mask.
    test::Problem sure = test::make_problem(config, 6, 5, 1, 1);
    for (std::size_t row = 0; row < 6; ++row) sure.teacher[row * 5 + row % 5] += 100;
    const test::Errors errors = test::errors_of(test::run(*backend, sure), test::reference(sure));
    CHECK(errors.value < 1e-6);
    CHECK(errors.gradient < 2e-6);
}

TEST_CASE("losses: constant rows, standardised, have no direction") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    test::Problem problem = test::make_problem(test::config_of(Levels::instance, {2}, Divergence::frobenius, true), 3, 5, 3, 1);
    for (std::size_t c = 0; c < 5; ++c) problem.student[c] = problem.teacher[5 + c] = 2.5f;
    const test::Outcome ours = test::run(*backend, problem);
    const test::Outcome expected = test::reference(problem);
    CHECK(test::relative_error(ours.losses, expected.losses) < 1e-6);
    CHECK(test::relative_error(ours.gradient, expected.gradient) < 2e-6);
}
