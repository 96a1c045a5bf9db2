#include "engine/cuda/engine_choice.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "described_gpu.h"
#include "engine/cuda/convolution.h"

using namespace mlkd;
using namespace mlkd::test;
using cuda::EngineChoice;

namespace {

constexpr ConvolutionProblem stem_filter{.direction = Direction::backward_filter,
                                         .n = 64, .h = 32, .w = 32, .c = 3, .k = 32, .r = 3, .s = 3, .stride = 1, .padding = 1};

bool contains(const std::vector<EngineChoice>& choices, const EngineChoice& choice) {
    return std::find(choices.begin(), choices.end(), choice) != choices.end();
}

}  // namespace

TEST_CASE("an engine with its knobs as text, and back") {
    for (const EngineChoice& choice : {EngineChoice{44, {{2, 20}, {12, 0}, {25, -1}}}, EngineChoice{0, {}}})
        CHECK(EngineChoice::parse(choice.text()) == choice);
    CHECK(EngineChoice{44, {{2, 20}, {12, 0}}}.text() == "engine 44 knobs 2=20 12=0");
    for (const char* text : {"", "winograd", "engine", "engine x knobs", "engine 4", "engine 4 knobs 2", "engine 4 knobs 2=",
                             "engine 4 knobs 2=1 x", "engine 4 knobs 2=1x", "engine 4 knobs  2=1", "engine 4 knobs 2=1 "}) {
        CAPTURE(text);
        CHECK_FALSE(cuda::is_engine_choice(text));
    }
}

TEST_CASE("a remembered engine builds the plan that it was remembered for, and one that cuDNN does not know builds none") {
    const DescribedGpu gpu;
    const cuda::ConvolutionGraph graph(gpu.target, stem_filter);
    const auto choices = cuda::proposed_engines(graph, {});
    REQUIRE(choices.size() > 10);
    CHECK(std::any_of(choices.begin(), choices.end(), [](const EngineChoice& choice) { return choice.knobs.size() > 3; }));
    std::string why;
    for (const EngineChoice& choice : choices) {
        const auto first = cuda::ConvolutionPlan::make(graph, choice, why);
        REQUIRE(first != nullptr);
        const auto again = cuda::ConvolutionPlan::make(graph, EngineChoice::parse(choice.text()).value(), why);
        REQUIRE(again != nullptr);
        CHECK(again->workspace_bytes() == first->workspace_bytes());
    }
    CHECK(cuda::ConvolutionPlan::make(graph, EngineChoice{9999, {}}, why) == nullptr);
    CHECK(cuda::ConvolutionPlan::make(graph, EngineChoice{choices.front().engine, {{2, 123456}}}, why) == nullptr);
    CHECK_FALSE(why.empty());
}

TEST_CASE("the rules leave engines out, and nothing else") {
    const DescribedGpu gpu;
    const cuda::ConvolutionGraph graph(gpu.target, stem_filter);
    const auto usual = cuda::proposed_engines(graph, {});
    const auto all = cuda::proposed_engines(graph, {.tensor_cores = true, .nondeterministic = true});
    const auto fma = cuda::proposed_engines(graph, {.tensor_cores = false});
    CHECK(usual.size() < all.size());  // this gradient has an engine of atomic sums, which cuDNN even proposes first
    CHECK(fma.size() < usual.size());
    CHECK_FALSE(fma.empty());
    CHECK(all.front() != usual.front());
    for (const EngineChoice& choice : usual) CHECK(contains(all, choice));
    for (const EngineChoice& choice : fma) CHECK(contains(usual, choice));
}
