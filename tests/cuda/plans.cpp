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

using namespace mlkd;
using namespace mlkd::test;

namespace {

// What training and evaluating these networks asks for, with a batch of one image.
std::set<ConvolutionProblem> problems_of(const std::vector<std::string>& networks) {
    ConvolutionRecorder recorder;
    StepArena arena(recorder);
    for (const std::string& name : networks) {
        const auto network = make_network(recorder, name, 100, Role::trained);
        network->parameters().initialise(1);
        PersistentArena memory(recorder);
        const Tensor images = memory.allocate("images", DType::f32, {1, 32, 32, 3});
        Tape tape(recorder, arena);
        arena.begin("train " + name);
        TrainingPass training{recorder, arena, tape, 1};
        const Variable logits = network->forward(training, images);
        tape.contribute(*logits.gradient, logits.value, "seed",
                        [&](const Tensor& dL_dlogits) { recorder.fill_zero(dL_dlogits.data, dL_dlogits.bytes()); });
        tape.backward();
        arena.end();
        network->fold();
        arena.begin("evaluate " + name);
        EvaluationPass evaluation{recorder, arena};
        network->evaluate(evaluation, images);
        arena.end();
    }
    return recorder.problems;
}

// The first of the proposed plans that can be built within the workspace's limit; else why there is none.
bool has_plan(const cuda::PlanTarget& target, const ConvolutionProblem& problem, const cuda::EngineRules& rules,
              std::string& why) {
    const cuda::ConvolutionGraph graph(target, cuda::supported_form(problem));
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
    const auto problems = problems_of({"resnet8", "resnet20", "resnet8x4", "resnet32x4", "wrn_16_2"});
    const auto count = [&](Direction direction, bool relu) {
        return std::count_if(problems.begin(), problems.end(),
                             [&](const ConvolutionProblem& p) { return p.direction == direction && p.relu == relu; });
    };
    // Both kinds of forward pass and both gradients were seen.
    REQUIRE(count(Direction::forward, false) >= 15);
    REQUIRE(count(Direction::forward, true) >= 15);
    REQUIRE(count(Direction::backward_data, false) >= 15);
    REQUIRE(count(Direction::backward_filter, false) >= 15);
    REQUIRE(std::count_if(problems.begin(), problems.end(), [](const ConvolutionProblem& p) { return p.accumulate; }) >= 10);

    struct Precision {
        const char* name;
        DType dtype;
        cuda::EngineRules rules;
    };
    for (const Precision& precision : {Precision{"tf32", DType::f32, {.tensor_cores = true}},
                                       Precision{"fp32", DType::f32, {.tensor_cores = false}},
                                       Precision{"bf16", DType::bf16, {.tensor_cores = true}}})
        // A batch and both its views at once; what is left of 50,000, 60,000 and 10,000 images, once and twice.
        for (const std::int64_t n : {64, 128, 16, 32})
            for (ConvolutionProblem problem : problems) {
                problem.n = n;
                problem.dtype = precision.dtype;
                std::string why;
                const bool found = has_plan(gpu.target, problem, precision.rules, why);
                CHECK_MESSAGE(found, std::string(precision.name), " ", problem.text(), ": ", why);
            }
}
