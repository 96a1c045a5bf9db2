// Every method in the list on a GPU against the CPU.
#include "losses/methods.h"

#include <doctest/doctest.h>

#include "tests/cuda/both_devices.h"

using namespace mlkd;
using namespace mlkd::test;

TEST_SUITE_BEGIN("kernels");

TEST_CASE("both devices: every method, with and without standardized logits") {
    const auto gpu = gpu_backend();
    if (gpu == nullptr) return;
    for (const auto& part : all_methods().parts)
        for (const bool standardized : {false, true}) {
            const std::unique_ptr<Method> method = part->clone();
            if (standardized && !has_setting(*method, "logit_standardization")) continue;
            if (standardized) set(*method, {"logit_standardization", 1.0});
            CAPTURE(method->name());
            CAPTURE(standardized);
            for (const auto& [samples, classes] : {std::pair{1, 2}, std::pair{5, 7}, std::pair{33, 57}, std::pair{64, 300}})
                compare_devices(*gpu, 5e-6, [&, B = std::int64_t{samples}, C = std::int64_t{classes}](DeviceTensors& tensors) {
                    Backend& backend = tensors.backend();
                    Loss loss(backend, *method, 0.1);
                    loss.set_epoch(2);
                    StepArena arena(backend, 1 << 20);
                    const Shape shape{method->views() * B, C};
                    const Tensor student = tensors.input(shape, -6, 6), teacher = tensors.input(shape, -6, 6);
                    const Tensor target = tensors.labels(B, static_cast<std::uint32_t>(C));
                    const Tensor losses = tensors.output({static_cast<std::int64_t>(loss.parts().size())}),
                                 gradient = tensors.output(shape);
                    for (int step = 0; step < 2; ++step) {  // a second one finds counters as the first one left them
                        arena.begin("loss");
                        loss.forward_backward(arena, losses, gradient, student, method->has_teacher() ? teacher : Tensor{}, target);
                        arena.end();
                    }
                    return std::vector<Tensor>{losses, gradient};
                });
        }
}

TEST_SUITE_END();
