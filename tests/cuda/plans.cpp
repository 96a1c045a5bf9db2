// Every convolution that the recipes need has a plan on an H100, in every precision: asked of cuDNN without a GPU.
#include <doctest/doctest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "described_gpu.h"
#include "engine/cuda/convolution.h"
#include "layers/network.h"
#include "recording_backend.h"
#include "tests/cuda/convolution_cases.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

// What training and evaluating these networks asks for, with a batch of one image.
std::set<ConvolutionCall> calls_of(const std::vector<std::string>& networks) {
    ConvolutionRecorder recorder;
    for (const std::string& name : networks) {
        const auto network = make_network(recorder, name, {100, Role::trained});
        network->parameters().initialise(1);
        PersistentArena memory(recorder);
        const Tensor images = memory.allocate("images", DType::f32, {1, 32, 32, 3});
        network->forward(images);
        const Tensor dL_dlogits = network->logits_gradient();
        recorder.fill_zero(dL_dlogits.data, dL_dlogits.bytes());
        network->backward();
        network->fold();
        network->evaluate(images);
    }
    return recorder.calls;
}

struct Precision {
    const char* name;
    DType dtype;
    cuda::EngineRules rules;
};
const std::vector<Precision> precisions{{"tf32", DType::f32, {.tensor_cores = true}},
                                        {"fp32", DType::f32, {.tensor_cores = false}},
                                        {"bf16", DType::bf16, {.tensor_cores = true}}};

// The first of the proposed plans that can be built within the workspace's limit; else why there is none.
bool has_plan(const cuda::PlanTarget& target, const ConvolutionCall& call, const cuda::EngineRules& rules,
              std::string& why) {
    const cuda::ConvolutionGraph graph(target, cuda::supported_form(call));
    why = "no engine is proposed";
    for (const cuda::EngineChoice& choice : cuda::proposed_engines(graph, rules)) {
        const auto plan = cuda::ConvolutionPlan::make(graph, choice, why);
        if (plan != nullptr && plan->workspace_bytes() <= cuda::workspace_limit) return true;
    }
    return false;
}

}  // namespace

TEST_CASE("every convolution of the recipes has a plan for sm_90") {
    const DescribedGpu gpu;
    const auto calls = calls_of({"resnet8", "resnet20", "resnet8x4", "resnet32x4", "wrn_16_2"});
    const auto count = [&](Direction direction, bool relu) {
        return std::count_if(calls.begin(), calls.end(),
                             [&](const ConvolutionCall& p) { return p.direction == direction && p.relu == relu; });
    };
    // Both kinds of forward pass and both gradients were seen.
    REQUIRE(count(Direction::forward, false) >= 15);
    REQUIRE(count(Direction::forward, true) >= 15);
    REQUIRE(count(Direction::backward_data, false) >= 15);
    REQUIRE(count(Direction::backward_filter, false) >= 15);
    REQUIRE(std::count_if(calls.begin(), calls.end(), [](const ConvolutionCall& p) { return p.accumulate; }) >= 10);

    for (const Precision& precision : precisions)
        // A batch and both its views at once; what is left of 50,000, 60,000 and 10,000 images, once and twice.
        for (const std::int64_t n : {64, 128, 16, 32})
            for (ConvolutionCall call : calls) {
                call.n = n;
                call.dtype = precision.dtype;
                std::string why;
                const bool found = has_plan(gpu.target, call, precision.rules, why);
                CHECK_MESSAGE(found, std::string(precision.name), " ", call.text(), ": ", why);
            }
}

TEST_CASE("every convolution that a GPU's tests run has a plan for sm_90") {
    const DescribedGpu gpu;
    for (const Precision& precision : precisions)
        for (const ConvolutionCase& c : convolution_cases) {
            ConvolutionCall plain{Direction::forward,   c.x[0], c.x[1], c.x[2], c.x[3], c.w[0], c.w[1], c.w[2], c.convolution.stride,
                                     c.convolution.padding};
            plain.dtype = precision.dtype;
            std::vector<ConvolutionCall> calls(11, plain);
            for (std::size_t mask = 0; mask < 8; ++mask) {
                calls[mask].bias = (mask & 1) != 0;
                calls[mask].residual = (mask & 2) != 0;
                calls[mask].relu = (mask & 4) != 0;
            }
            calls[8].direction = calls[9].direction = Direction::backward_data;
            calls[9].accumulate = true;
            calls[10].direction = Direction::backward_filter;
            for (const ConvolutionCall& call : calls) {
                std::string why;
                const bool found = has_plan(gpu.target, call, precision.rules, why);
                CHECK_MESSAGE(found, std::string(precision.name), " ", call.text(), ": ", why);
            }
        }
}
