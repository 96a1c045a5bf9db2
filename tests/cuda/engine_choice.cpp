#include "engine/cuda/engine_choice.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "described_gpu.h"
#include "engine/cuda/convolution.h"

using namespace mlkd;
using namespace mlkd::test;
using cuda::EngineChoice;

namespace {

constexpr ConvolutionCall stem_filter{.direction = Direction::backward_filter,
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

TEST_CASE("what cuDNN notes about an engine decides whether it qualifies") {
    const cuda::EngineRules exact{.tensor_cores = false}, usual{}, all{.tensor_cores = true, .nondeterministic = true};
    CHECK(cuda::is_allowed({}, exact));
    CHECK(cuda::is_allowed({CUDNN_NUMERICAL_NOTE_STRICT_NAN_PROP, CUDNN_NUMERICAL_NOTE_WINOGRAD}, exact));
    CHECK_FALSE(cuda::is_allowed({CUDNN_NUMERICAL_NOTE_WINOGRAD, CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, exact));
    CHECK(cuda::is_allowed({CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, usual));
    CHECK_FALSE(cuda::is_allowed({CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC}, usual));
    CHECK(cuda::is_allowed({CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_TENSOR_CORE}, all));
    for (const auto coarse : {CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION})
        for (const cuda::EngineRules& rules : {exact, usual, all})
            CHECK_FALSE(cuda::is_allowed({CUDNN_NUMERICAL_NOTE_TENSOR_CORE, coarse}, rules));
}

// Its nondeterministic engines for bfloat16 add up in bfloat16, and its TF32 engines are noted as nothing but tensor cores.
TEST_CASE("in bfloat16 the order of sums may be free, not their precision") {
    const DescribedGpu gpu;
    ConvolutionCall rounded = stem_filter;
    rounded.dtype = DType::bf16;
    const cuda::ConvolutionGraph graph(gpu.target, rounded);
    CHECK(cuda::proposed_engines(graph, {.nondeterministic = true}) == cuda::proposed_engines(graph, {}));
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

TEST_CASE("why engines are left out, in words") {
    const DescribedGpu gpu;
    const cuda::ConvolutionGraph graph(gpu.target, stem_filter);
    const auto says = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
    const std::string all = cuda::left_out_engines(graph, {.tensor_cores = true, .nondeterministic = true});
    CHECK(says(all, "cuDNN proposes "));
    CHECK_FALSE(says(all, "; of them"));
    const std::string usual = cuda::left_out_engines(graph, {}), fma = cuda::left_out_engines(graph, {.tensor_cores = false});
    CHECK(says(usual, "are nondeterministic (--nondeterministic takes them)"));
    CHECK_FALSE(says(usual, "tensor cores"));
    CHECK(says(fma, "use tensor cores (--precision tf32 takes them), "));
    CHECK(says(fma, "are nondeterministic"));
    ConvolutionCall rounded = stem_filter;
    rounded.dtype = DType::bf16;
    CHECK(says(cuda::left_out_engines(cuda::ConvolutionGraph(gpu.target, rounded), {}), "round their inputs or sums"));
}
