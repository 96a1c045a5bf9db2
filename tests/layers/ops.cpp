// Every operation of the networks, on odd shapes: one line each.
#include "layers/ops/add.h"
#include "layers/ops/batch_norm.h"
#include "layers/ops/convolution.h"
#include "layers/ops/pooled_linear.h"
#include "op_check.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

template <class Made, class... Args> std::function<std::shared_ptr<Op>(ParameterStore&)> op(Args... args) {
    return [=](ParameterStore& store) { return std::make_shared<Made>(store, args...); };
}
std::function<std::shared_ptr<Op>(ParameterStore&)> norm(int channels, bool residual, bool relu) {
    return [=](ParameterStore& store) { return std::make_shared<BatchNorm>(BatchNormState(store, "bn", channels), residual, relu); };
}
std::shared_ptr<Op> make_add(ParameterStore&) { return std::make_shared<Add>("add"); }

const std::vector<OpCase>& cases() {
    static const std::vector<OpCase> all{
        {.name = "conv 3x3", .make = op<Conv2d>("c", ConvShape{3, 5}), .x = {{7, 5, 3}}, .convolves = true},
        {.name = "conv 3x3 /2", .make = op<Conv2d>("c", ConvShape{6, 4, 3, 2}), .x = {{5, 8, 6}}, .convolves = true},
        {.name = "conv 1x1 /2", .make = op<Conv2d>("c", ConvShape{2, 7, 1, 2}), .x = {{4, 6, 2}}, .convolves = true},
        {.name = "norm", .make = norm(7, false, false), .x = {{3, 5, 7}}, .evaluates_as_it_trains = false},
        {.name = "norm + relu, two views", .make = norm(8, false, true), .x = {{3, 2, 8}}, .batch = 4, .views = 2, .evaluates_as_it_trains = false},
        {.name = "norm + add + relu", .make = norm(5, true, true), .x = {{3, 4, 5}, {3, 4, 5}}, .evaluates_as_it_trains = false},
        {.name = "norm + add", .make = norm(4, true, false), .x = {{2, 3, 4}, {2, 3, 4}}, .evaluates_as_it_trains = false},
        {.name = "add", .make = make_add, .x = {{3, 5, 7}, {3, 5, 7}}},
        {.name = "mean + linear", .make = op<PooledLinear>("fc", 7, 11, LinearBias::uniform), .x = {{5, 3, 7}}},
    };
    return all;
}

}  // namespace

TEST_CASE("operations: gradients are slopes, by finite differences in double") {
    const auto backend = make_cpu_backend();
    for (const OpCase& c : cases()) {
        CAPTURE(c.name);
        check_slopes(c, *backend);
    }
}

TEST_CASE("operations: adding, working in place and evaluating are the same mathematics") {
    const auto backend = make_cpu_backend();
    for (const OpCase& c : cases()) {
        CAPTURE(c.name);
        check_ways(c, *backend);
    }
}

TEST_CASE("operations: float32 and bfloat16 are float64 but for rounding") {
    const auto backend = make_cpu_backend();
    const bool bfloat16_convolutions = cpu_bfloat16_obstacle().empty();
    for (const OpCase& c : cases()) {
        CAPTURE(c.name);
        const OpResult exact = OpUnderTest(c, *backend, DType::f64).gradients();
        check_near(OpUnderTest(c, *backend, DType::f32).gradients(), exact, 1e-5);
        if (!c.convolves || bfloat16_convolutions) check_near(OpUnderTest(c, *backend, DType::bf16).gradients(), exact, 0.05);
    }
}

TEST_SUITE("team") {
    TEST_CASE("operations: teams of threads give what one thread gives") {
        RecordingBackend serial;
        for (const int team_size : {3, 8}) {
            RecordingBackend teams(2, team_size);
            for (const OpCase& c : cases()) {
                CAPTURE(c.name);
                check_near(OpUnderTest(c, teams, DType::f64).gradients(), OpUnderTest(c, serial, DType::f64).gradients(), 1e-12);
            }
        }
    }
}
