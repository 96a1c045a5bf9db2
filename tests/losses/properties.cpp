// What must hold without a reference: invariances, refusals, teams of threads.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "engine/error.h"
#include "tests/losses/configs.h"

using namespace mlkd;

TEST_CASE("losses: nothing at equality") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (auto [name, config] : test::all_configs()) {
        if (config.levels == Levels::none) continue;
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
    for (const auto& [name, config] : test::all_configs()) {
        CAPTURE(name);
        test::Problem problem = test::make_problem(config, 5, 9, 3, 1);
        for (auto* logits : {&problem.student, &problem.teacher})
            for (float& z : *logits) z = std::round(z * 1024) / 1024;  // so that the shifted logits are exact
        const test::Outcome before = test::run(*backend, problem);
        for (std::size_t i = 0; i < problem.student.size(); ++i) problem.student[i] += 64.0f * static_cast<float>(i / 9 % 4);
        for (std::size_t i = 0; i < problem.teacher.size(); ++i) problem.teacher[i] -= 96.0f * static_cast<float>(i / 9 % 3);
        const test::Errors errors = test::errors_of(test::run(*backend, problem), before);
        CHECK(errors.value < 1e-6);
        CHECK(errors.gradient < 1e-6);
    }
}

TEST_CASE("losses: the order of samples and of classes does not matter") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    constexpr std::size_t samples = 10, classes = 13;
    for (const auto& [name, config] : test::all_configs()) {
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
        const test::Errors errors = test::errors_of(back, before);
        CHECK(errors.value < 1e-6);
        CHECK(errors.gradient < 2e-6);
    }
}

TEST_CASE("losses: what is a mean over samples splits over batches") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const test::Problem whole = test::make_problem(test::config_of(Levels::instance, {4, 2}), 12, 7, 3, 1);
    const test::Outcome at_once = test::run(*backend, whole);
    test::Outcome sum;
    for (std::size_t part = 0; part < 3; ++part) {
        test::Problem piece = whole;
        piece.samples = 4;
        const auto cut = [&](auto& values, std::size_t row) {
            values = {values.begin() + static_cast<std::ptrdiff_t>(part * 4 * row),
                      values.begin() + static_cast<std::ptrdiff_t>((part + 1) * 4 * row)};
        };
        cut(piece.student, 7);
        cut(piece.teacher, 7);
        cut(piece.target, 1);
        const test::Outcome outcome = test::run(*backend, piece);
        for (std::size_t i = 0; i < loss_part_count; ++i) sum.losses[i] += outcome.losses[i] / 3;
        for (double slope : outcome.gradient) sum.gradient.push_back(slope / 3);
    }
    const test::Errors errors = test::errors_of(sum, at_once);
    CHECK(errors.value < 1e-6);
    CHECK(errors.gradient < 1e-6);
}

TEST_CASE("losses: what is not finite shows in the losses") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& [name, config] : test::all_configs())
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
        DistillationConfig config = test::config_of(Levels::paper);
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
    validate(test::config_of(Levels::paper));
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
    test::Problem one_class = test::make_problem(test::config_of(Levels::paper), 4, 1, 3, 1);
    CHECK_THROWS_AS(test::run(*backend, one_class), Error);
    test::Problem odd = test::make_problem(test::config_of(Levels::instance), 3, 4, 3, 1);
    odd.config.levels = Levels::paper;  // three rows are not two views
    StepArena arena(*backend);
    arena.begin("refused");
    std::vector<float> losses(loss_part_count), gradient(12);
    CHECK_THROWS_AS(
        DistillationLoss(*backend, odd.config)
            .forward_backward(arena, view_of(losses.data(), {loss_part_count}), view_of(gradient.data(), {3, 4}),
                              view_of(odd.student.data(), {3, 4}), view_of(odd.teacher.data(), {3, 4}), view_of(odd.target.data(), {1})),
        Error);
    CHECK(view_count(Levels::none) == 1);
    CHECK(view_count(Levels::instance) == 1);
    CHECK(view_count(Levels::paper) == 2);
    CHECK(view_count(Levels::released) == 2);
}

TEST_SUITE("team") {
    // Seen to catch races under the tsan preset: without the sync() after the transposed tile of GramCoefficients, and
    // without the one before the label of CrossEntropy.
    TEST_CASE("losses: the same under teams of threads") {
        const std::unique_ptr<Backend> serial = test::make_plain_backend();
        struct Case {
            std::int64_t samples, classes;
            float scale;  // 60: the double-precision entries of kl_correlation.h
            int teams, size;
        };
        for (const Case& c : {Case{7, 13, 3, 2, 3}, Case{35, 5, 3, 3, 5}, Case{4, 9, 60, 2, 3}}) {
            const std::unique_ptr<Backend> threaded = test::make_plain_backend(c.teams, c.size);
            for (const auto& [name, config] : test::all_configs()) {
                if (c.scale > 50 && config.divergence != Divergence::kl) continue;
                CAPTURE(name);
                CAPTURE(c.samples);
                const test::Problem problem = test::make_problem(config, c.samples, c.classes, c.scale, c.scale / 3);
                const test::Errors errors = test::errors_of(test::run(*threaded, problem, 2, LossForm::separate), test::run(*serial, problem));
                CHECK(errors.value < 1e-6);
                CHECK(errors.gradient < 2e-6);
            }
        }
    }
}
