// Every method against the naive definitions, over shapes, distances and degenerate inputs.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>

#include "engine/error.h"
#include "tests/losses/problem.h"

using namespace mlkd;

namespace {

DistillationConfig config_of(Method method, std::vector<float> temperatures = {4, 3, 5, 2, 6},
                             Divergence divergence = Divergence::frobenius, bool standardize = false) {
    DistillationConfig config;
    config.method = method;
    config.temperatures = std::move(temperatures);
    config.ce_weight = 0.1f;
    config.kd_weight = 0.9f;
    config.divergence = divergence;
    config.logit_standardization = standardize;
    return config;
}

std::vector<std::pair<std::string, DistillationConfig>> all_configs() {
    std::vector<std::pair<std::string, DistillationConfig>> configs{
        {"none", config_of(Method::none)},
        {"kd", config_of(Method::kd, {4})},
        {"kd at several T", config_of(Method::kd, {4, 1, 2.5f})},
        {"kd standardized", config_of(Method::kd, {2}, Divergence::frobenius, true)},
        {"mlkd", config_of(Method::mlkd)},
        {"mlkd standardized", config_of(Method::mlkd, {2, 3}, Divergence::frobenius, true)},
        {"mlkd kl", config_of(Method::mlkd, {4, 2}, Divergence::kl)},
        {"mlkd kl standardized", config_of(Method::mlkd, {3, 1}, Divergence::kl, true)},
        {"mlkd repeated T", config_of(Method::mlkd, {2, 2, 5, 2})},
        {"official", config_of(Method::mlkd_official)},
        {"official of two T", config_of(Method::mlkd_official, {4, 3})},
        {"official standardized", config_of(Method::mlkd_official, {2, 3, 5, 2, 6}, Divergence::frobenius, true)},
        {"official kl", config_of(Method::mlkd_official, {4, 3, 5, 2}, Divergence::kl)},
    };
    DistillationConfig weighted = config_of(Method::mlkd);
    weighted.instance_weight = 0.5f;
    weighted.batch_weight = 3;
    weighted.class_weight = 0.25f;
    configs.emplace_back("mlkd, levels weighted", weighted);
    weighted.divergence = Divergence::kl;
    configs.emplace_back("mlkd kl, levels weighted", weighted);
    for (Divergence divergence : {Divergence::frobenius, Divergence::kl}) {
        DistillationConfig one = config_of(Method::mlkd, {4, 2}, divergence);
        one.ce_weight = 0;
        one.instance_weight = 0;
        one.class_weight = 0;
        configs.emplace_back(divergence == Divergence::kl ? "batch level alone, kl" : "batch level alone", one);
        one.batch_weight = 0;
        one.class_weight = 1;
        configs.emplace_back(divergence == Divergence::kl ? "class level alone, kl" : "class level alone", one);
    }
    return configs;
}

struct Errors {
    double value = 0, gradient = 0;
};

// The largest relative error of the parts, and that of the gradient.
Errors errors_of(const test::Outcome& ours, const test::Outcome& expected) {
    Errors errors;
    for (std::size_t part = 0; part < loss_part_count; ++part)
        errors.value = std::max(errors.value, test::relative_error(ours.losses[part], expected.losses[part]));
    errors.gradient = test::relative_error(ours.gradient, expected.gradient);
    return errors;
}

}  // namespace

TEST_CASE("losses: the naive reference against finite differences") {
    for (const auto& [name, config] : all_configs()) {
        if (config.method == Method::none) continue;
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
    for (const auto& [name, config] : all_configs())
        for (const auto& [samples, classes] : shapes) {
            if (config.logit_standardization && classes == 2) continue;  // rows of ±√½: what is left of a difference is rounding
            CAPTURE(name);
            CAPTURE(samples);
            CAPTURE(classes);
            const test::Problem problem = test::make_problem(config, samples, classes, 3, 2);
            const Errors errors = errors_of(test::run(*backend, problem, 2), test::reference(problem));
            CHECK(errors.value < 2e-6);
            CHECK(errors.gradient < 2e-6);
        }
}

TEST_CASE("losses: many samples, many classes") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const DistillationConfig& config : {config_of(Method::mlkd_official, {4}), config_of(Method::mlkd, {4}, Divergence::kl)})
        for (const auto& [samples, classes] : {std::pair{7, 1000}, std::pair{1, 1000}, std::pair{129, 65}, std::pair{65, 129}}) {
            CAPTURE(classes);
            CAPTURE(samples);
            const test::Problem problem = test::make_problem(config, samples, classes, 3, 2);
            const Errors errors = errors_of(test::run(*backend, problem), test::reference(problem));
            CHECK(errors.value < (samples == 1 ? 5e-6 : 2e-6));  // the batch level of one sample is one difference, squared
            CHECK(errors.gradient < 2e-6);
        }
}

TEST_CASE("losses: groups of terms and blocks of rows change nothing") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    DistillationConfig config = config_of(Method::mlkd, {4}, Divergence::kl);
    config.method = Method::mlkd_official;  // one correlating term
    const test::Problem blocks = test::make_problem(config, 3, 2501, 3, 2);  // 2501² entries take two blocks
    const Errors errors = errors_of(test::run(*backend, blocks, 2), test::reference(blocks));
    CHECK(errors.value < 1e-6);
    CHECK(errors.gradient < 2e-6);

    // 80 terms of 0.7 MiB take two groups; one by one they take one each.
    test::Problem groups = test::make_problem(config_of(Method::mlkd, {}), 40, 1500, 3, 2);
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
    const Errors group_errors = errors_of(test::run(*backend, groups), sum);
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
    Case cases[] = {{"kd", config_of(Method::kd, {4})},
                    {"kd, standardised", config_of(Method::kd, {2}, Divergence::frobenius, true)},
                    {"mlkd", config_of(Method::mlkd, {4, 2})},
                    {"mlkd, batch level", config_of(Method::mlkd, {4, 2})},
                    {"mlkd, class level", config_of(Method::mlkd, {4, 2})},
                    {"mlkd, KL", config_of(Method::mlkd, {4, 2}, Divergence::kl)},
                    {"mlkd, KL, batch level", config_of(Method::mlkd, {4, 2}, Divergence::kl)},
                    {"mlkd, KL, class level", config_of(Method::mlkd, {4, 2}, Divergence::kl)},
                    {"mlkd_official", config_of(Method::mlkd_official, {4, 2})}};
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
                const Errors errors = errors_of(test::run(*backend, problem), test::reference(problem));
                CHECK(errors.value < 2e-6);
                CHECK(errors.gradient < 2e-6);
                if (print)
                    std::printf("| (%d, %d) | %s | %.0e | %.1e | %.1e |\n", samples, classes, name, static_cast<double>(distance),
                                errors.value, errors.gradient);
            }
}

TEST_CASE("losses: nothing at equality") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (auto [name, config] : all_configs()) {
        if (config.method == Method::none) continue;
        CAPTURE(name);
        config.ce_weight = 0;
        for (const auto& [samples, classes] : {std::pair{6, 11}, std::pair{11, 6}}) {
            const test::Outcome outcome = test::run(*backend, test::make_problem(config, samples, classes, 20, 0));
            for (double loss : outcome.losses) CHECK(loss == 0);
            for (double slope : outcome.gradient) CHECK(slope == 0);
        }
    }
}

TEST_CASE("losses: a shift of a row's logits changes nothing") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [name, config] : all_configs()) {
        CAPTURE(name);
        test::Problem problem = test::make_problem(config, 5, 9, 3, 1);
        for (auto* logits : {&problem.student, &problem.teacher})
            for (float& z : *logits) z = std::round(z * 1024) / 1024;  // so that the shifted logits are exact
        const test::Outcome before = test::run(*backend, problem);
        for (std::size_t i = 0; i < problem.student.size(); ++i) problem.student[i] += 64.0f * static_cast<float>(i / 9 % 4);
        for (std::size_t i = 0; i < problem.teacher.size(); ++i) problem.teacher[i] -= 96.0f * static_cast<float>(i / 9 % 3);
        const Errors errors = errors_of(test::run(*backend, problem), before);
        CHECK(errors.value < 1e-6);
        CHECK(errors.gradient < 1e-6);
    }
}

TEST_CASE("losses: the order of samples and of classes does not matter") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    constexpr std::size_t samples = 10, classes = 13;
    for (const auto& [name, config] : all_configs()) {
        CAPTURE(name);
        const test::Problem problem = test::make_problem(config, samples, classes, 3, 1);
        test::Problem permuted = problem;
        const auto row_of = [](std::size_t b) { return (7 * b + 3) % samples; };
        const auto class_of = [](std::size_t c) { return (5 * c + 2) % classes; };
        const auto place = [&](std::size_t i) {
            return i / (samples * classes) * samples * classes + row_of(i / classes % samples) * classes + class_of(i % classes);
        };
        for (std::size_t i = 0; i < problem.student.size(); ++i) permuted.student[place(i)] = problem.student[i];
        for (std::size_t i = 0; i < problem.teacher.size(); ++i) permuted.teacher[place(i)] = problem.teacher[i];
        for (std::size_t b = 0; b < samples; ++b)
            permuted.target[row_of(b)] = static_cast<std::int32_t>(class_of(static_cast<std::size_t>(problem.target[b])));
        const test::Outcome before = test::run(*backend, problem);
        test::Outcome after = test::run(*backend, permuted), back = after;
        for (std::size_t i = 0; i < after.gradient.size(); ++i) back.gradient[i] = after.gradient[place(i)];
        const Errors errors = errors_of(back, before);
        CHECK(errors.value < 1e-6);
        CHECK(errors.gradient < 2e-6);
    }
}

TEST_CASE("losses: what is a mean over samples splits over batches") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const test::Problem whole = test::make_problem(config_of(Method::kd, {4, 2}), 12, 7, 3, 1);
    const test::Outcome at_once = test::run(*backend, whole);
    test::Outcome sum;
    for (std::size_t part = 0; part < 3; ++part) {
        test::Problem piece = whole;
        piece.samples = 4;
        const auto cut = [&](auto& values, std::size_t row) {
            values = {values.begin() + static_cast<std::ptrdiff_t>(part * 4 * row), values.begin() + static_cast<std::ptrdiff_t>((part + 1) * 4 * row)};
        };
        cut(piece.student, 7);
        cut(piece.teacher, 7);
        cut(piece.target, 1);
        const test::Outcome outcome = test::run(*backend, piece);
        for (std::size_t i = 0; i < loss_part_count; ++i) sum.losses[i] += outcome.losses[i] / 3;
        for (double slope : outcome.gradient) sum.gradient.push_back(slope / 3);
    }
    const Errors errors = errors_of(sum, at_once);
    CHECK(errors.value < 1e-6);
    CHECK(errors.gradient < 1e-6);
}

TEST_CASE("losses: extreme logits are finite and right") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [name, config] : all_configs())
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
    for (const auto& [name, config] : all_configs())
        for (int kind = 0; kind < 3; ++kind) {
            if (config.method == Method::none) continue;
            CAPTURE(name);
            CAPTURE(kind);
            test::Problem problem = test::make_problem(config, 8, 40, 1, 1e-2f);
            for (std::size_t row = 0; row < problem.student.size() / 40; ++row) {
                if (kind != 0) problem.student[row * 40 + (row * 7) % 40] += 25;                  // sure of the same class
                if (kind != 1) problem.teacher[row * 40 + (row * (kind == 2 ? 11 : 7)) % 40] += 25;  // or of another one
            }
            const test::Outcome ours = test::run(*backend, problem), expected = test::reference(problem);
            CHECK(test::relative_error(ours.losses, expected.losses) < 3e-6);
            // Where the two are sure of different classes, small entries of the difference are what is left of large ones.
            CHECK(test::relative_error(ours.gradient, expected.gradient) < (kind == 2 ? 1e-5 : 2e-6));
        }
}

TEST_CASE("losses: ties in the official masks") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const DistillationConfig config = config_of(Method::mlkd_official);
    for (std::int64_t samples : {4, 5, 8})
        for (int equal_rows : {2, 3, 4}) {
            CAPTURE(samples);
            CAPTURE(equal_rows);
            test::Problem problem = test::make_problem(config, samples, 6, 3, 1);
            for (std::size_t row = 1; row < static_cast<std::size_t>(equal_rows); ++row)  // the same teacher rows
                std::copy_n(problem.teacher.begin(), 6, problem.teacher.begin() + static_cast<std::ptrdiff_t>(row * 6));
            for (std::size_t row = 0; row < static_cast<std::size_t>(samples); ++row)  // three classes with the same mass
                problem.teacher[row * 6 + 1] = problem.teacher[row * 6 + 4] = problem.teacher[row * 6 + 2];
            const Errors errors = errors_of(test::run(*backend, problem), test::reference(problem));
            CHECK(errors.value < 1e-6);
            CHECK(errors.gradient < 2e-6);
        }
    // All samples sure beyond what a double can tell from 1: all are in the mask.
    test::Problem sure = test::make_problem(config, 6, 5, 1, 1);
    for (std::size_t row = 0; row < 6; ++row) sure.teacher[row * 5 + row % 5] += 100;
    const Errors errors = errors_of(test::run(*backend, sure), test::reference(sure));
    CHECK(errors.value < 1e-6);
    CHECK(errors.gradient < 2e-6);
}

TEST_CASE("losses: constant rows, standardised, have no direction") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    test::Problem problem = test::make_problem(config_of(Method::kd, {2}, Divergence::frobenius, true), 3, 5, 3, 1);
    for (std::size_t c = 0; c < 5; ++c) problem.student[c] = problem.teacher[5 + c] = 2.5f;
    const test::Outcome ours = test::run(*backend, problem);
    const test::Outcome expected = test::reference(problem);
    CHECK(test::relative_error(ours.losses, expected.losses) < 1e-6);
    CHECK(test::relative_error(ours.gradient, expected.gradient) < 2e-6);
}

TEST_CASE("losses: what is not finite shows in the losses") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [name, config] : all_configs())
        for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
            CAPTURE(name);
            test::Problem problem = test::make_problem(config, 4, 6, 3, 1);
            problem.student[8] = bad;
            CHECK(!std::isfinite(test::run(*backend, problem).losses[LossPart::total]));
            if (problem.teacher.empty()) continue;
            problem.student[8] = 1;
            problem.teacher[9] = bad;
            CHECK(!std::isfinite(test::run(*backend, problem).losses[LossPart::total]));
        }
}

TEST_CASE("losses: configurations and shapes that are refused") {
    const auto refuses = [](auto change, const char* key) {
        DistillationConfig config = config_of(Method::mlkd);
        change(config);
        std::string message;
        try {
            validate(config);
        } catch (const UsageError& error) {
            message = error.what();
        }
        CHECK(message.find(key) != std::string::npos);
    };
    const float infinity = std::numeric_limits<float>::infinity();
    validate(config_of(Method::mlkd));
    refuses([](auto& c) { c.temperatures.clear(); }, "temperatures");
    refuses([](auto& c) { c.temperatures[2] = 0; }, "temperatures[2]");
    refuses([](auto& c) { c.temperatures[1] = -1; }, "temperatures[1]");
    refuses([&](auto& c) { c.temperatures[0] = infinity; }, "temperatures[0]");
    refuses([](auto& c) { c.ce_weight = -1; }, "ce_weight");
    refuses([&](auto& c) { c.kd_weight = infinity; }, "kd_weight");
    refuses([](auto& c) { c.instance_weight = NAN; }, "instance_weight");
    refuses([](auto& c) { c.batch_weight = -0.5f; }, "batch_weight");
    refuses([&](auto& c) { c.class_weight = -infinity; }, "class_weight");

    const std::unique_ptr<Backend> backend = make_cpu_backend();
    test::Problem one_class = test::make_problem(config_of(Method::mlkd), 4, 1, 3, 1);
    CHECK_THROWS_AS(test::run(*backend, one_class), Error);
    test::Problem odd = test::make_problem(config_of(Method::kd), 3, 4, 3, 1);
    odd.config.method = Method::mlkd;  // three rows are not two views
    StepArena arena(*backend);
    arena.begin("refused");
    std::vector<float> losses(loss_part_count), gradient(12);
    CHECK_THROWS_AS(DistillationLoss(*backend, odd.config)
                        .forward_backward(arena, view_of(losses.data(), {loss_part_count}), view_of(gradient.data(), {3, 4}),
                                          view_of(odd.student.data(), {3, 4}), view_of(odd.teacher.data(), {3, 4}),
                                          view_of(odd.target.data(), {1})),
                    Error);
    CHECK(views(Method::none) == 1);
    CHECK(views(Method::kd) == 1);
    CHECK(views(Method::mlkd) == 2);
    CHECK(views(Method::mlkd_official) == 2);
}

TEST_SUITE("team") {
    TEST_CASE("losses: the same under teams of threads") {
        const std::unique_ptr<Backend> serial = test::make_plain_backend();
        struct Case {
            std::int64_t samples, classes;
            float scale;  // 60: the double-precision entries of kl_correlation.h
            int teams, size;
        };
        for (const Case& c : {Case{7, 13, 3, 2, 3}, Case{35, 5, 3, 3, 5}, Case{4, 9, 60, 2, 3}}) {
            const std::unique_ptr<Backend> threaded = test::make_plain_backend(c.teams, c.size);
            for (const auto& [name, config] : all_configs()) {
                CAPTURE(name);
                CAPTURE(c.samples);
                const test::Problem problem = test::make_problem(config, c.samples, c.classes, c.scale, c.scale / 3);
                const Errors errors = errors_of(test::run(*threaded, problem, 2), test::run(*serial, problem));
                CHECK(errors.value < 1e-6);
                CHECK(errors.gradient < 2e-6);
            }
        }
    }
}
