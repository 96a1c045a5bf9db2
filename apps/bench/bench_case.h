#pragma once
// One benchmark: its name, and how to prepare it when its turn comes.
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/kernels/philox.h"
#include "engine/types.h"

namespace mlkd {

// What is timed, with what one call of it counts for. Zero: not counted.
struct BenchWork {
    std::function<void()> run;  // owns all it works on
    double flop = 0;
    double bytes = 0;   // the tensors that it must read and write, each once a pass, wherever they lie
    double images = 0;
    std::function<double()> workspace_bytes = {};  // of the step arena, known after the first run
};

struct BenchCase {
    std::string name;  // "conv/resnet8x4/layer2.0.conv1/forward"
    std::function<BenchWork(Backend& backend)> prepare;
};

// precision: of the networks, f32 or bf16.
void add_step_cases(std::vector<BenchCase>& cases, DType precision);
void add_loss_cases(std::vector<BenchCase>& cases);
void add_kernel_cases(std::vector<BenchCase>& cases, DType precision);
void add_view_cases(std::vector<BenchCase>& cases);
void add_convolution_cases(std::vector<BenchCase>& cases, Backend& backend, DType precision);

// Tensors of one benchmark on the device, filled with random numbers that depend on the order of the calls alone.
class BenchTensors {
public:
    explicit BenchTensors(Backend& backend) : backend_(backend), arena_(backend) {}

    Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return arena_.allocate("bench", dtype, shape); }

    // Uniform in [low, high).
    Tensor uniform(const Shape& shape, float low = -1, float high = 1, DType dtype = DType::f32) {
        const Tensor tensor = zeros(shape, dtype);
        RandomSequence random = next();
        with_stored_type(dtype, [&](auto zero) {
            std::vector<decltype(zero)> values(static_cast<std::size_t>(shape.elements()));
            for (auto& value : values) value = static_cast<decltype(zero)>(low + (high - low) * random.uniform());
            backend_.copy_from_host(tensor.data, values.data(), tensor.bytes());
        });
        return tensor;
    }

    // Integers in [0, count).
    Tensor labels(std::int64_t size, std::int64_t count) {
        std::vector<std::int32_t> values(static_cast<std::size_t>(size));
        RandomSequence random = next();
        for (std::int32_t& value : values) value = static_cast<std::int32_t>(random.below(static_cast<std::uint32_t>(count)));
        const Tensor tensor = zeros({size}, DType::i32);
        backend_.copy_from_host(tensor.data, values.data(), tensor.bytes());
        return tensor;
    }

private:
    RandomSequence next() { return {1, Purpose::synthetic, 0, used_++}; }

    Backend& backend_;
    PersistentArena arena_;
    std::uint32_t used_ = 0;
};

// `run` together with the owner of the memory that it works on.
template <class Owner, class Run> std::function<void()> keeping(std::shared_ptr<Owner> owner, Run run) {
    return [owner = std::move(owner), run = std::move(run)] { run(); };
}

}  // namespace mlkd
