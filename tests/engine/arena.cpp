#include "engine/arena.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"

using namespace mlkd;

namespace {

bool aligned(const Tensor& tensor) { return reinterpret_cast<std::uintptr_t>(tensor.data) % 64 == 0; }

// A step whose tensors overflow a small block; returns the addresses.
std::vector<void*> step(StepArena& arena, const std::string& kind) {
    std::vector<void*> addresses;
    arena.begin(kind);
    for (std::int64_t i = 1; i < 20; ++i) addresses.push_back(arena.allocate(std::to_string(i), DType::f32, {i, 7}).data);
    arena.end();
    return addresses;
}

}  // namespace

TEST_CASE("persistent memory is zeroed, aligned and separate") {
    const auto backend = make_cpu_backend();
    PersistentArena arena(*backend);
    std::vector<Tensor> tensors;
    for (std::int64_t i = 1; i < 50; ++i) tensors.push_back(arena.allocate("p", DType::f32, {i, 1003}));
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        CHECK(aligned(tensors[i]));
        bool zero = true;
        for (std::int64_t j = 0; j < tensors[i].elements(); ++j) zero = zero && tensors[i].as<float>()[j] == 0.0f;
        CHECK(zero);
        for (std::int64_t j = 0; j < tensors[i].elements(); ++j) tensors[i].as<float>()[j] = static_cast<float>(i);
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) CHECK(tensors[i].as<float>()[tensors[i].elements() - 1] == static_cast<float>(i));
}

TEST_CASE("memory from a backend is zeroed although it was used before") {
    const auto backend = make_cpu_backend();
    for (const std::size_t bytes : {std::size_t{1}, std::size_t{1000}, std::size_t{100000}})
        for (int repetition = 0; repetition < 4; ++repetition) {
            auto* memory = static_cast<unsigned char*>(backend->allocate(bytes));
            CHECK(std::count(memory, memory + bytes, 0) == static_cast<std::ptrdiff_t>(bytes));
            CHECK(reinterpret_cast<std::uintptr_t>(memory) % 64 == 0);
            std::memset(memory, 0xa5, bytes);
            backend->free(memory);
        }
}

TEST_CASE("addresses of a step never change, whatever steps of other kinds come between") {
    const auto backend = make_cpu_backend();
    StepArena arena(*backend, 1024);
    const auto first = step(arena, "train/64");
    arena.begin("eval/64");
    arena.allocate("large", DType::f32, {5000});
    arena.allocate("small", DType::u8, {3});
    arena.end();
    for (int i = 0; i < 3; ++i) CHECK(step(arena, "train/64") == first);
    const std::size_t reserved = arena.reserved_bytes();
    step(arena, "train/64");
    CHECK(arena.reserved_bytes() == reserved);
}

TEST_CASE("a step that differs from the first one of its kind throws") {
    const auto backend = make_cpu_backend();
    StepArena arena(*backend);
    const auto two = [&](const char* first, std::int64_t first_size, const char* second) {
        arena.begin("train/2");
        arena.allocate(first, DType::f32, {first_size});
        arena.allocate(second, DType::f32, {5});
    };
    two("a", 3, "b");
    arena.end();
    CHECK_NOTHROW(two("a", 3, "b"));
    CHECK_THROWS_AS(arena.allocate("c", DType::f32, {1}), Error);  // one more
    CHECK_THROWS_AS(two("a", 3, "c"), Error);                      // another name
    CHECK_THROWS_AS(two("a", 4, "b"), Error);                      // another size
    arena.begin("train/2");
    arena.allocate("a", DType::f32, {3});
    CHECK_THROWS_AS(arena.end(), Error);  // one less
    CHECK_NOTHROW(two("a", 3, "b"));      // after a failure the next step is as good as any
    arena.end();
    CHECK_THROWS_AS(arena.allocate("a", DType::f32, {3}), Error);  // between steps
}

TEST_CASE("a first step that fails half-way teaches nothing") {
    const auto backend = make_cpu_backend();
    StepArena arena(*backend);
    arena.begin("train/64");
    arena.allocate("a", DType::f32, {3});
    CHECK_NOTHROW(step(arena, "train/64"));
    CHECK_NOTHROW(step(arena, "train/64"));
}

TEST_CASE("memory of a scope is free again when it ends") {
    const auto backend = make_cpu_backend();
    StepArena arena(*backend);
    arena.begin("eval/64");
    const void* kept = arena.allocate("kept", DType::f32, {100}).data;
    const void* inside = nullptr;
    {
        StepArena::Scope scope(arena);
        inside = arena.allocate("inside", DType::f32, {100}).data;
        {
            StepArena::Scope nested(arena);
            CHECK(arena.allocate("nested", DType::f32, {100}).data != inside);
        }
    }
    const void* after = arena.allocate("after", DType::f32, {50}).data;
    CHECK(after == inside);
    CHECK(after != kept);
    arena.end();
}

TEST_CASE("too much memory is an error that says how much") {
    const auto backend = make_cpu_backend();
    for (const std::size_t bytes : {std::size_t{1} << 60, std::numeric_limits<std::size_t>::max()})
        CHECK_THROWS_WITH_AS(backend->allocate(bytes), doctest::Contains("out of memory: cannot allocate"), Error);
}

TEST_CASE("a tensor's views share its memory and check their bounds and types") {
    std::vector<float> values(24);
    const Tensor tensor = view_of(values.data(), {4, 2, 3});
    const Tensor slice = tensor.slice(1, 2);
    CHECK(slice.as<float>() == values.data() + 6);
    CHECK(slice.shape == Shape{2, 2, 3});
    CHECK(tensor.reshaped({8, 3}).shape == Shape{8, 3});
    CHECK(tensor.bytes() == 96);
    CHECK(tensor.shape.text() == "(4, 2, 3)");
    CHECK_THROWS_AS(tensor.slice(3, 2), Error);
    CHECK_THROWS_AS(tensor.slice(-1, 2), Error);
    CHECK_THROWS_AS(tensor.reshaped({5, 5}), Error);
    CHECK_THROWS_AS(tensor.as<double>(), Error);
    CHECK_THROWS_AS((Shape{1, 2, 3, 4, 5}), Error);
    CHECK_THROWS_AS((Shape{-1}), Error);
}
