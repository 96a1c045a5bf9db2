// The reference values of tests/golden/loss-*: an independent implementation in float64.
#include <doctest/doctest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "engine/files/safetensors.h"
#include "tests/losses/problem.h"
#include "tests/support/sources.h"

using namespace mlkd;

namespace {

Levels levels_of(const std::string& name) {
    if (name == "kd") return Levels::instance;
    return name == "mlkd" ? Levels::paper : Levels::released;
}

test::Problem problem_of(const SafetensorsFile& file) {
    test::Problem problem;
    problem.config.levels = levels_of(file.meta("method"));
    problem.config.temperatures = nlohmann::json::parse(file.meta("temperatures")).get<std::vector<float>>();
    problem.config.ce_weight = std::stof(file.meta("ce_weight"));
    problem.config.kd_weight = std::stof(file.meta("kd_weight"));
    problem.config.divergence = file.meta("divergence") == "kl" ? Divergence::kl : Divergence::frobenius;
    problem.config.logit_standardization = file.meta("logit_standardization") == "true";
    for (const char* view : {"weak", "strong"}) {
        if (!file.tensors.contains(std::string("student_") + view)) continue;
        const HostTensor& student = file.tensor(std::string("student_") + view);
        problem.samples = student.shape[0];
        problem.classes = student.shape[1];
        const auto append = [](std::vector<float>& to, std::span<const float> from) { to.insert(to.end(), from.begin(), from.end()); };
        append(problem.student, student.as<float>());
        append(problem.teacher, file.tensor(std::string("teacher_") + view).as<float>());
    }
    for (std::int64_t y : file.tensor("target").as<std::int64_t>()) problem.target.push_back(static_cast<std::int32_t>(y));
    return problem;
}

test::Outcome expected_of(const SafetensorsFile& file) {
    test::Outcome expected;
    const char* names[loss_part_count] = {"loss.ce", "loss.instance", "loss.batch", "loss.class", "loss.total"};
    for (std::size_t part = 0; part < loss_part_count; ++part)
        if (file.tensors.contains(names[part])) expected.losses[part] = file.tensor(names[part]).as<double>()[0];
    for (const char* view : {"weak", "strong"}) {
        const std::string name = std::string("grad.student_") + view;
        if (!file.tensors.contains(name)) continue;
        const auto values = file.tensor(name).as<double>();
        expected.gradient.insert(expected.gradient.end(), values.begin(), values.end());
    }
    return expected;
}

}  // namespace

TEST_CASE("losses: golden cases") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    constexpr double weights_as_float = 5e-8;  // 0.1 and 0.9 are not floats
    int cases = 0;
    for (const auto& entry : std::filesystem::directory_iterator(test::reference_values())) {
        const std::string name = entry.path().filename().string();
        if (!name.starts_with("loss-")) continue;
        CAPTURE(name);
        const SafetensorsFile file = read_safetensors(entry.path().string());
        if (file.meta("method") != "kd" && !file.meta("method").starts_with("mlkd")) continue;  // methods.cpp has those
        ++cases;
        const test::Problem problem = problem_of(file);
        const test::Outcome expected = expected_of(file), ours = test::run(*backend, problem, 2), naive = test::reference(problem);
        for (std::size_t part = 0; part < loss_part_count; ++part) {
            CAPTURE(part);
            CHECK(test::relative_error(ours.losses[part], expected.losses[part]) < 1e-6);
            CHECK(test::relative_error(naive.losses[part], expected.losses[part]) < weights_as_float);
        }
        CHECK(test::relative_error(ours.gradient, expected.gradient) < 1e-6);
        CHECK(test::relative_error(naive.gradient, expected.gradient) < weights_as_float);
    }
    CHECK(cases == 16);
}
