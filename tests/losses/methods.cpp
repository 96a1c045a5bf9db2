// What every method in the list must hold, and the golden cases of all that have some.
#include "losses/methods.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>
#include <random>

#include "tests/losses/problem.h"
#include "tests/support/method_of_case.h"
#include "tests/support/sources.h"

using namespace mlkd;

namespace {

constexpr float sentinel = -12345.678f;

struct Inputs {
    std::int64_t samples, classes;
    std::vector<float> student, teacher;  // (V·B, C)
    std::vector<std::int32_t> target;     // (B)
};

struct Results {
    std::vector<float> losses, gradient;
};

Inputs random_inputs(const Method& method, std::int64_t samples, std::int64_t classes) {
    Inputs inputs{samples, classes, {}, {}, {}};
    std::mt19937 random(static_cast<unsigned>(31 * samples + classes));
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < method.views() * samples * classes; ++i) {
        inputs.teacher.push_back(3 * normal(random));
        inputs.student.push_back(inputs.teacher.back() + normal(random));
    }
    for (std::int64_t b = 0; b < samples; ++b)
        inputs.target.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(classes)));
    return inputs;
}

// Outputs hold NaN before, and a sentinel stands behind each.
Results run(Backend& backend, Loss& loss, Inputs inputs) {
    const auto parts = static_cast<std::int64_t>(loss.parts().size());
    const Shape shape{loss.method().views() * inputs.samples, inputs.classes};
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    Results results{std::vector<float>(static_cast<std::size_t>(parts) + 1, nan), std::vector<float>(inputs.student.size() + 1, nan)};
    results.losses.back() = results.gradient.back() = sentinel;
    StepArena arena(backend, 1 << 20);
    arena.begin("loss");
    loss.forward_backward(
        arena, view_of(results.losses.data(), {parts}), view_of(results.gradient.data(), shape), view_of(inputs.student.data(), shape),
        loss.method().has_teacher() ? view_of(inputs.teacher.data(), shape) : Tensor{}, view_of(inputs.target.data(), {inputs.samples}));
    arena.end();
    CHECK(results.losses.back() == sentinel);
    CHECK(results.gradient.back() == sentinel);
    results.losses.pop_back();
    results.gradient.pop_back();
    return results;
}

double length(const std::vector<float>& v) {
    double squares = 0;
    for (const float x : v) squares += static_cast<double>(x) * x;
    return std::sqrt(squares);
}

std::vector<double> doubles(const std::vector<float>& values) { return {values.begin(), values.end()}; }

}  // namespace

TEST_CASE("methods: parts add up, the gradient is the total's slope, and calls repeat their bits") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& method : all_methods().parts)
        for (const auto& [samples, classes] : {std::pair{1, 2}, std::pair{5, 3}, std::pair{9, 17}, std::pair{3, 130}}) {
            CAPTURE(method->name());
            CAPTURE(classes);
            Loss loss(*backend, *method, 0.1);
            loss.set_epoch(1000);  // past every warm-up
            Inputs inputs = random_inputs(*method, samples, classes);
            const Results results = run(*backend, loss, inputs), again = run(*backend, loss, inputs);
            CHECK(results.losses == again.losses);
            CHECK(results.gradient == again.gradient);
            double sum = 0;
            for (std::size_t part = 0; part + 1 < results.losses.size(); ++part) sum += results.losses[part];
            CHECK(results.losses.back() == doctest::Approx(sum).epsilon(1e-5));
            // Along the gradient, and along directions at random: a difference of the total.
            const double norm = length(results.gradient);
            REQUIRE(norm > 0);
            std::mt19937 random(7);
            std::normal_distribution<float> normal;
            for (int direction = 0; direction < 6; ++direction) {
                CAPTURE(direction);
                std::vector<float> along = results.gradient;
                if (direction > 0)
                    for (float& a : along) a = normal(random);
                const double step = 0.02 / length(along);
                Inputs above = inputs, below = inputs;
                double projection = 0;
                for (std::size_t i = 0; i < along.size(); ++i) {
                    above.student[i] += static_cast<float>(step * along[i]);
                    below.student[i] -= static_cast<float>(step * along[i]);
                    projection += static_cast<double>(results.gradient[i]) * along[i] / length(along);
                }
                const double slope = (run(*backend, loss, above).losses.back() - run(*backend, loss, below).losses.back()) / 0.04;
                CHECK(std::abs(slope - projection) < 1e-3 * norm);
            }
        }
}

TEST_CASE("methods: not finite logits give a total that is not finite") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& method : all_methods().parts) {
        CAPTURE(method->name());
        Loss loss(*backend, *method);
        Inputs inputs = random_inputs(*method, 4, 5);
        inputs.student[7] = std::numeric_limits<float>::quiet_NaN();
        CHECK_FALSE(std::isfinite(run(*backend, loss, inputs).losses.back()));
        if (!method->has_teacher()) continue;
        inputs = random_inputs(*method, 4, 5);
        inputs.teacher[7] = std::numeric_limits<float>::quiet_NaN();
        CHECK_FALSE(std::isfinite(run(*backend, loss, inputs).losses.back()));
    }
}

TEST_CASE("methods: numbers that change by epoch change the next call, and one of unknown name is refused") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    for (const auto& method : all_methods().parts) {
        CAPTURE(method->name());
        Loss loss(*backend, *method);
        CHECK_THROWS_AS(loss.set_number("nothing", 1), Error);
        const Inputs inputs = random_inputs(*method, 4, 5);
        loss.set_epoch(1000);
        const Results late = run(*backend, loss, inputs);
        for (const auto& [name, value] : method->numbers(1)) {
            loss.set_number(name, value / 3);
            CHECK(run(*backend, loss, inputs).losses != late.losses);
            loss.set_epoch(1000);
        }
        CHECK(run(*backend, loss, inputs).losses == late.losses);
    }
}

TEST_CASE("methods: names of parts and keys") {
    for (const auto& method : all_methods().parts) {
        CAPTURE(method->name());
        CHECK(method->parts().size() < 8);
        CHECK(method->parts().front() == "ce");
        CHECK(make_method(method->name())->name() == std::string(method->name()));
    }
    CHECK_THROWS_AS(make_method("nothing"), Error);
    CHECK_THROWS_AS(make_method("kd", {{"temperature", 0.0}}), Error);
    CHECK_THROWS_AS(make_method("kd", {{"divergence", "kl"}}), Error);
}

TEST_SUITE("team") {
    TEST_CASE("methods: teams of threads give what one thread gives") {
        const std::unique_ptr<Backend> alone = test::make_plain_backend();
        for (const auto& method : all_methods().parts)
            for (const auto& [teams, team_size] : {std::pair{2, 3}, std::pair{2, 8}}) {
                CAPTURE(method->name());
                CAPTURE(team_size);
                const std::unique_ptr<Backend> team = test::make_plain_backend(teams, team_size);
                Loss by_one(*alone, *method), by_team(*team, *method);
                const Inputs inputs = random_inputs(*method, 6, 11);
                const Results one = run(*alone, by_one, inputs), many = run(*team, by_team, inputs);
                CHECK(test::relative_error(doubles(many.losses), doubles(one.losses)) < 1e-5);
                CHECK(test::relative_error(doubles(many.gradient), doubles(one.gradient)) < 1e-5);
            }
    }
}

TEST_CASE("methods: golden cases") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(test::reference_values())) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("loss-")) continue;
        CAPTURE(name);
        ++cases;
        const SafetensorsFile file = read_safetensors(entry.path().string());
        const std::unique_ptr<Method> method = test::method_of_case(file);
        Loss loss(*backend, *method);
        test::set_numbers(loss, file);
        Inputs inputs{file.tensor("student_weak").shape[0], file.tensor("student_weak").shape[1], {}, {}, {}};
        std::vector<double> expected;
        for (int view = 0; view < method->views(); ++view) {
            const std::string suffix = view == 0 ? "_weak" : "_strong";
            const auto student = file.tensor("student" + suffix).as<float>(), teacher = file.tensor("teacher" + suffix).as<float>();
            const auto gradient = file.tensor("grad.student" + suffix).as<double>();
            inputs.student.insert(inputs.student.end(), student.begin(), student.end());
            inputs.teacher.insert(inputs.teacher.end(), teacher.begin(), teacher.end());
            expected.insert(expected.end(), gradient.begin(), gradient.end());
        }
        for (const std::int64_t y : file.tensor("target").as<std::int64_t>()) inputs.target.push_back(static_cast<std::int32_t>(y));
        const Results results = run(*backend, loss, inputs);
        const std::vector<std::string> parts = loss.parts();
        for (std::size_t part = 0; part < parts.size(); ++part) {
            CAPTURE(parts[part]);
            CHECK(test::relative_error(double{results.losses[part]}, file.tensor("loss." + parts[part]).as<double>()[0]) < 1e-6);
        }
        CHECK(test::relative_error(doubles(results.gradient), expected) < 1e-6);
    }
    CHECK(cases >= 16);
}
