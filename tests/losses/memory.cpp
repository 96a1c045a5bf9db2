#include <doctest/doctest.h>

#include <cmath>
#include <vector>

#include "losses/mlkd/distillation.h"
#include "tests/losses/configs.h"
#include "tests/losses/problem.h"

using namespace mlkd;

// A matrix of C × C would take 40 GB at 100,000 classes.
TEST_CASE("losses: memory grows linearly with the classes") {
    const std::unique_ptr<Backend> backend = make_cpu_backend();
    const auto workspace = [&](std::int64_t classes) {  // bytes beyond inputs and gradients
        const test::Problem problem = test::make_problem(test::config_of(Levels::released, {4, 3, 5, 2, 6}), 64, classes, 3, 1);
        StepArena arena(*backend, 1 << 20);
        DistillationLoss loss(*backend, problem.config);
        std::vector<float> losses(loss_part_count), gradient(problem.student.size());
        const Shape shape{problem.rows(), classes};
        auto student = problem.student, teacher = problem.teacher;
        auto target = problem.target;
        arena.begin("memory");
        loss.forward_backward(arena, view_of(losses.data(), {loss_part_count}), view_of(gradient.data(), shape),
                              view_of(student.data(), shape), view_of(teacher.data(), shape), view_of(target.data(), {64}));
        arena.end();
        CHECK(std::isfinite(losses[LossPart::total]));
        return static_cast<double>(arena.reserved_bytes());
    };
    const double at_50k = workspace(50'000), at_100k = workspace(100'000);
    CHECK(at_100k < static_cast<double>(1 << 30));
    CHECK(at_100k > 1.5 * at_50k);  // not all of it is a constant: the case measures something
    CHECK(at_100k < 2.1 * at_50k);
    CHECK(workspace(25'000) < 1.2 * at_50k);
}
