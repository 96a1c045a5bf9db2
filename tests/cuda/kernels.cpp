// Our own kernels on a GPU against the same kernels on the CPU, at odd shapes. The suite is what compute-sanitizer watches.
#include <doctest/doctest.h>

#include <numeric>

#include "data/feeds/loader_feed.h"
#include "data/feeds/resident_feed.h"
#include "data/readers/load.h"
#include "data/views/augment.h"
#include "engine/kernels/elementwise.h"
#include "engine/optimizers/optimizers.h"
#include "layers/ops/pooled_linear_kernels.h"
#include "losses/cross_entropy.h"
#include "losses/meters/accuracy.h"
#include "tests/cuda/both_devices.h"

using namespace mlkd;
using namespace mlkd::test;

TEST_SUITE_BEGIN("kernels");

TEST_CASE("both devices: element-wise kernels") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const Shape& shape : {Shape{1}, Shape{3, 5, 7, 11}, Shape{70001}})
        for (const DType dtype : {DType::f32, DType::f64, DType::bf16})
            compare_devices(*gpu, 0, [&](DeviceTensors& tensors) {
                const Stream stream = tensors.backend().stream();
                const Tensor sum = tensors.input(shape, -1, 1, dtype), addend = tensors.input(shape, -1, 1, dtype);
                const Tensor to = tensors.output(shape, dtype), filled = tensors.output(shape, dtype);
                const Tensor single = tensors.output(shape, DType::f32), wide = tensors.output(shape, DType::f64);
                add_to(stream, sum, addend);
                copy(stream, to, addend);
                fill(stream, filled, 0.3f);
                convert(stream, single, addend);
                convert(stream, wide, addend);
                return std::vector<Tensor>{sum, to, filled, single, wide};
            });
}

TEST_CASE("both devices: optimizers") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const auto& [name, elements] : {std::pair{"SGD", 1}, {"SGD", 255}, {"SGD", 100003}, {"AdamW", 255}, {"AdamW", 100003}})
        compare_devices(*gpu, 1e-6, [&, name = name, size = std::int64_t{elements}](DeviceTensors& tensors) {
            const auto optimizer = make_optimizer(name);
            const Tensor values = tensors.input({size}), gradients = tensors.input({size});
            const Tensor lr = tensors.input({1}, 0.01, 0.02);
            OptimizerState state(tensors.backend(), tensors.memory(), *optimizer, values);
            for (int step = 0; step < 3; ++step) state.update(values, gradients, lr);
            // The same with gradients and copies of the first parameters in bfloat16.
            const Shape first{(size + 1) / 2};
            const Tensor masters = tensors.input({size});
            const Tensor copies = tensors.output(first, DType::bf16), expected = tensors.output(first, DType::bf16);
            const RoundedParameters rounded{copies, tensors.input(first, -1, 1, DType::bf16)};
            OptimizerState of_masters(tensors.backend(), tensors.memory(), *optimizer, masters);
            of_masters.update(masters, gradients, lr, rounded);
            convert(tensors.backend().stream(), expected, masters.slice(0, first[0]));
            CHECK(tensors.fetched(copies) == tensors.fetched(expected));
            std::vector<Tensor> results{values, masters};
            for (const OptimizerState* each : {&state, &of_masters})
                for (const auto& [slot, tensor] : each->slots()) results.push_back(tensor);
            return results;
        });
}

TEST_CASE("both devices: the head, pooling and linear layer") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const Shape& x_shape : {Shape{1, 1, 1, 3}, Shape{5, 8, 8, 64}, Shape{7, 3, 5, 100}, Shape{128, 8, 8, 256}})
        for (const DType dtype : {DType::f32, DType::bf16})
            compare_devices(*gpu, dtype == DType::bf16 ? 1e-2 : 1e-6, [&](DeviceTensors& tensors) {
                const std::int64_t N = x_shape[0], C = x_shape[3], classes = 2 * C + 1;
                const Tensor x = tensors.input(x_shape, -1, 1, dtype), weight = tensors.input({classes, C}), bias = tensors.input({classes});
                const Tensor dL_dlogits = tensors.input({N, classes}), logits = tensors.output({N, classes}), pooled = tensors.output({N, C});
                const PooledLinearGradients gradients{tensors.output(x_shape, dtype), tensors.output({classes, C}), tensors.output({classes})};
                pooled_linear(tensors.backend(), logits, pooled, x, weight, bias);
                pooled_linear_backward(tensors.backend(), gradients, dL_dlogits, pooled, weight, tensors.output({N, C}));
                return std::vector<Tensor>{logits, pooled, gradients.dL_dx, gradients.dL_dweight, gradients.dL_dbias};
            });
}

TEST_CASE("both devices: cross entropy, accuracy and the meter") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    struct Size {
        std::int64_t rows, classes;
    };
    for (const Size& size : {Size{1, 2}, Size{3, 10}, Size{65, 100}, Size{9, 1003}})
        for (const double reach : {3.0, 1e4})  // huge logits, too
            compare_devices(*gpu, 2e-6, [&](DeviceTensors& tensors) {
                Backend& backend = tensors.backend();
                StepArena arena(backend, 1);
                arena.begin("case");
                const Tensor logits = tensors.input({size.rows, size.classes}, -reach, reach);
                const Tensor target = tensors.labels(size.rows, static_cast<std::uint32_t>(size.classes));
                const Tensor row_loss = tensors.output({size.rows}), dL_dlogits = tensors.output(logits.shape);
                cross_entropy(backend.stream(), row_loss, dL_dlogits, logits, target, 0.5 / static_cast<double>(size.rows), 0.2);
                const Tensor counters = tensors.zeros({accuracy_counter_count}, DType::f64);
                PersistentArena memory(backend);
                LossMeter meter(backend, memory, 5);
                const Tensor losses = tensors.input({5});
                accumulate_accuracy(backend.stream(), arena, counters, logits, target, meter.adding(losses, size.rows));
                accumulate_accuracy(backend.stream(), arena, counters, logits, target, meter.adding(losses, 7));
                const LossMeter::Reading reading = meter.read();
                std::vector<float> sums{static_cast<float>(reading.samples), static_cast<float>(reading.steps),
                                        static_cast<float>(reading.bad_step)};
                for (const double value : reading.sums) sums.push_back(static_cast<float>(value));
                const Tensor read = tensors.copied(sums.data(), {static_cast<std::int64_t>(sums.size())}, DType::f32);
                return std::vector<Tensor>{row_loss, dL_dlogits, counters, read};
            });
}

namespace {

Dataset noise(std::int64_t images) {
    Dataset dataset = make_synthetic(images, 10, Split::train);
    RandomSequence random(5, Purpose::test, 0, 0);
    for (std::uint8_t& byte : dataset.images) byte = static_cast<std::uint8_t>(random.below(256));
    return dataset;
}

}  // namespace

TEST_CASE("both devices: views of a batch are equal, value for value") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    const auto cpu = make_cpu_backend();
    // Enough draws for each of the fourteen operations, in both places, many times over.
    const Dataset dataset = noise(403);
    for (const DType type : {DType::f32, DType::bf16})
        for (const bool augment : {true, false}) {
            const LoaderOptions options{.batch_size = 64, .views = 2, .seed = 3, .shuffle = true, .augment = augment, .workers = 1};
            ResidentFeed here(*cpu, dataset, options, type), there(*gpu, dataset, options, type);
            const DeviceTensors from_cpu(*cpu), from_gpu(*gpu);
            for (const std::uint32_t epoch : {1u, 2u}) {
                here.start_epoch(epoch, 0);
                there.start_epoch(epoch, 0);
                while (const std::int64_t size = here.next()) {
                    REQUIRE(there.next() == size);
                    here.enqueue();
                    there.enqueue();
                    CHECK(from_gpu.fetched(there.images()) == from_cpu.fetched(here.images()));
                    CHECK(from_gpu.fetched(there.target()) == from_cpu.fetched(here.target()));
                }
            }
        }
}

TEST_SUITE_END();
