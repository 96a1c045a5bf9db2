#include "engine/tape.h"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/kernels/elementwise.h"
#include "tests/engine/buffers.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

struct Fixture {
    std::unique_ptr<Backend> backend = make_cpu_backend();
    StepArena arena{*backend};
    Tape tape{*backend, arena};

    void begin() {
        arena.begin("test");
        tape.reset();
    }
    Tensor constant(float value) {
        const Tensor tensor = arena.allocate("constant", DType::f32, {3});
        fill(backend->stream(), tensor, value);
        return tensor;
    }
    void write(Gradient& gradient, const Tensor& like, float value) {
        tape.contribute(gradient, like, "x", [&](const Tensor& out) { fill(backend->stream(), out, value); });
    }
};

void check_all(const Tensor& tensor, float expected) {
    for (std::int64_t i = 0; i < tensor.elements(); ++i) CHECK(tensor.as<float>()[i] == expected);
}

}  // namespace

TEST_CASE("backward runs the operations in reverse order, once each") {
    Fixture f;
    for (int step = 0; step < 2; ++step) {
        f.begin();
        std::string order;
        for (const char name : {'a', 'b', 'c'}) f.tape.record(std::string(1, name), [&order, name] { order += name; });
        f.tape.backward();
        CHECK(order == "cba");
        f.arena.end();
    }
}

TEST_CASE("the first touch of a gradient overwrites, later touches add") {
    Fixture f;
    f.begin();
    const Tensor value = f.constant(0);
    Variable x = f.tape.variable(value);
    CHECK(x.gradient->tensor.empty());
    f.write(*x.gradient, value, 2);
    check_all(x.gradient->tensor, 2);
    const void* address = x.gradient->tensor.data;
    f.write(*x.gradient, value, 3);
    f.tape.contribute(*x.gradient, f.constant(10));
    check_all(x.gradient->tensor, 15);
    CHECK(x.gradient->tensor.data == address);
    f.arena.end();
}

TEST_CASE("a parameter's gradient keeps its memory and is overwritten by the first touch of a step") {
    Fixture f;
    Buffer memory({3});  // NaN: adding to it would show
    for (const bool finished_first : {false, true}) {
        Gradient parameter{memory.tensor(), false};
        f.arena.begin(finished_first ? "finished first" : "written first");
        f.tape.reset();
        if (finished_first) f.tape.contribute(parameter, f.constant(1));
        f.write(parameter, memory.tensor(), 2);
        f.write(parameter, memory.tensor(), 4);
        CHECK(parameter.tensor.data == static_cast<void*>(memory.data()));
        check_all(memory.tensor(), finished_first ? 7 : 6);
        f.arena.end();
    }
}

TEST_CASE("an operation that can add is told to from the second touch on, and takes no memory for it") {
    Fixture f;
    for (int step = 0; step < 2; ++step) {
        f.begin();
        const Tensor value = f.constant(0), one = f.constant(1);
        Variable x = f.tape.variable(value), y = f.tape.variable(value);
        std::string told;
        const auto add_one = [&](const Tensor& out, bool add) {
            told += add ? '+' : '=';
            add ? add_to(f.backend->stream(), out, one) : copy(f.backend->stream(), out, one);
        };
        f.tape.accumulate(*x.gradient, value, "x", add_one);
        f.tape.accumulate(*x.gradient, value, "x", add_one);
        f.write(*x.gradient, value, 3);
        f.tape.accumulate(*x.gradient, value, "x", add_one);
        f.tape.contribute(*y.gradient, f.constant(8));
        f.tape.accumulate(*y.gradient, value, "y", add_one);
        CHECK(told == "=+++");
        check_all(x.gradient->tensor, 6);
        check_all(y.gradient->tensor, 9);
        f.arena.end();
    }
}

TEST_CASE("a finished gradient is taken without a copy") {
    Fixture f;
    f.begin();
    const Tensor finished = f.constant(5);
    Variable x = f.tape.variable(finished);
    f.tape.contribute(*x.gradient, finished);
    CHECK(x.gradient->tensor.data == finished.data);
    f.arena.end();
}

// L = sum over elements of (2x + x·x) · x, an input used by several operations: dL/dx = 4x + 3x².
TEST_CASE("gradients of a shared input add up") {
    Fixture f;
    f.begin();
    const float x_value = 1.5f;
    Variable x = f.tape.variable(f.constant(x_value));
    const auto multiply = [&](Variable a, Variable b) {
        Variable product = f.tape.variable(f.constant(*a.value.as<float>() * *b.value.as<float>()));
        f.tape.record("multiply", [&f, a, b, product] {
            const float seed = *product.gradient->tensor.as<float>();
            f.write(*a.gradient, a.value, seed * *b.value.as<float>());
            f.write(*b.gradient, b.value, seed * *a.value.as<float>());
        });
        return product;
    };
    const auto add = [&](Variable a, Variable b) {
        Variable sum = f.tape.variable(f.constant(*a.value.as<float>() + *b.value.as<float>()));
        f.tape.record("add", [&f, a, b, sum] {
            f.write(*a.gradient, a.value, *sum.gradient->tensor.as<float>());
            f.write(*b.gradient, b.value, *sum.gradient->tensor.as<float>());
        });
        return sum;
    };
    const Variable loss = multiply(add(add(x, x), multiply(x, x)), x);
    f.tape.contribute(*loss.gradient, f.constant(1));
    f.tape.backward();
    check_all(x.gradient->tensor, 4 * x_value + 3 * x_value * x_value);
    f.arena.end();
}
