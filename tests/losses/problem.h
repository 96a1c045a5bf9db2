#pragma once
// One input of DistillationLoss, and what came out.
#include <array>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <vector>

#include "engine/backend.h"
#include "losses/mlkd/distillation.h"

namespace mlkd::test {

struct Problem {
    DistillationConfig config;
    std::int64_t samples = 0, classes = 0;
    std::vector<float> student, teacher;  // (V·B, C); teacher empty for Levels::none
    std::vector<std::int32_t> target;     // (B)

    std::int64_t rows() const { return view_count(config.levels) * samples; }
};

struct Outcome {
    std::array<double, loss_part_count> losses{};
    std::vector<double> gradient;  // (V·B, C)
};

// Teacher logits normal with standard deviation `scale`; the student's differ by a normal of deviation `distance`.
inline Problem make_problem(const DistillationConfig& config, std::int64_t samples, std::int64_t classes, float scale, float distance,
                            unsigned seed = 1) {
    Problem problem{config, samples, classes, {}, {}, {}};
    std::mt19937 random(seed * 7919 + static_cast<unsigned>(samples * 131 + classes));
    std::normal_distribution<float> normal;
    for (std::int64_t i = 0; i < problem.rows() * classes; ++i) {
        const float teacher = scale * normal(random);
        problem.student.push_back(teacher + distance * normal(random));
        if (config.levels != Levels::none) problem.teacher.push_back(teacher);
    }
    for (std::int64_t b = 0; b < samples; ++b)
        problem.target.push_back(static_cast<std::int32_t>(random() % static_cast<unsigned>(classes)));
    return problem;
}

// Runs the loss `times` times in steps of one kind. Outputs hold NaN before each, and sentinels stand around them; the
// inputs must stay as they are, and every repetition must give the same bits.
Outcome run(Backend& backend, const Problem& problem, int times = 1, LossForm form = LossForm::automatic);

// The definitions of tests/golden/README.md, by plain loops in long double.
Outcome reference(const Problem& problem);

// |a - b| / |b| over all elements.
double relative_error(std::span<const double> a, std::span<const double> b);
inline double relative_error(double a, double b) { return relative_error(std::span(&a, 1), std::span(&b, 1)); }

// A backend of host memory without oneDNN, whose kernels run on teams of threads where `teams` is not 0.
std::unique_ptr<Backend> make_plain_backend(int teams = 0, int team_size = 0);

}  // namespace mlkd::test
