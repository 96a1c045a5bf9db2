#include "engine/cuda/convolution.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/error.h"

namespace mlkd::cuda {
namespace {

struct Candidate {
    std::unique_ptr<ConvolutionPlan> plan;
    float milliseconds = std::numeric_limits<float>::infinity();  // of one run, at best
    bool failed = false;
};

class Timer {
public:
    Timer(cudnnHandle_t handle, cudaStream_t stream, const ConvolutionOperands& operands, void* workspace)
        : handle_(handle), stream_(stream), operands_(operands), workspace_(workspace), start_(make_event()), stop_(make_event()) {}

    void time(Candidate& candidate) {
        constexpr int runs = 10;
        try {
            check_cuda(cudaEventRecord(start_.get(), stream_), "timing");
            for (int i = 0; i < runs; ++i) candidate.plan->execute(handle_, operands_, workspace_);
            check_cuda(cudaEventRecord(stop_.get(), stream_), "timing");
        } catch (const Error&) {
            // An engine that is proposed, builds, and then will not start: another one has to do.
            candidate.failed = true;
            cudaGetLastError();
        }
        check_cuda(cudaStreamSynchronize(stream_), "timing");
        if (candidate.failed) return;
        float elapsed = 0;
        check_cuda(cudaEventElapsedTime(&elapsed, start_.get(), stop_.get()), "timing");
        candidate.milliseconds = std::min(candidate.milliseconds, elapsed / runs);
    }

private:
    cudnnHandle_t handle_;
    cudaStream_t stream_;
    const ConvolutionOperands& operands_;
    void* workspace_;
    EventHandle start_, stop_;
};

// In turn, so that a busy moment of the machine hits the candidates alike. The first round loads code and warms caches.
void time_in_turn(std::vector<Candidate>& candidates, Timer& timer) {
    constexpr int rounds = 5;
    for (int round = 0; round < rounds; ++round) {
        float best = std::numeric_limits<float>::infinity();
        for (Candidate& candidate : candidates) {
            if (round == 1) candidate.milliseconds = std::numeric_limits<float>::infinity();
            timer.time(candidate);
            best = std::min(best, candidate.milliseconds);
        }
        std::erase_if(candidates, [&](const Candidate& candidate) {
            return candidate.failed || (round >= 1 && candidate.milliseconds > 1.3f * best);
        });
    }
}

}  // namespace

bool is_engine_choice(const std::string& choice) { return EngineChoice::parse(choice).has_value(); }

ConvolutionProblem supported_form(ConvolutionProblem problem) {
    problem.bias = problem.bias || problem.residual || problem.relu;
    return problem;
}

Convolutions::Convolutions(const PlanTarget& target, cudaStream_t stream, const EngineRules& rules, PlanFile plan_file)
    : target_(target), stream_(stream), rules_(rules), plan_file_(std::move(plan_file)), workspace_(stream), zeros_(stream) {}

void Convolutions::run(const ConvolutionProblem& problem, const ConvolutionOperands& operands) {
    const ConvolutionProblem asked = supported_form(problem);
    ConvolutionOperands given = operands;
    if (asked.bias && !problem.bias) given.bias = zeros_.reserve(static_cast<std::size_t>(problem.k) * size_of(problem.dtype));
    auto entry = plans_.find(asked);
    if (entry == plans_.end()) entry = plans_.emplace(asked, make_plan(asked, given)).first;
    const ConvolutionPlan& plan = *entry->second;
    plan.execute(target_.handle, given, workspace_.reserve(plan.workspace_bytes()));
}

// Products of bfloat16 are exact in float32, also on tensor cores.
EngineRules Convolutions::rules_for(const ConvolutionProblem& problem) const {
    EngineRules rules = rules_;
    rules.tensor_cores = rules.tensor_cores || problem.dtype == DType::bf16;
    return rules;
}

std::unique_ptr<ConvolutionPlan> Convolutions::make_plan(const ConvolutionProblem& problem, const ConvolutionOperands& operands) {
    const EngineRules rules = rules_for(problem);
    const char* const precision = problem.dtype == DType::bf16 ? "" : rules.tensor_cores ? " tf32" : " fp32";  // bf16: said already
    const std::string key = fmt::format("{}{}{}", problem.text(), precision, rules.nondeterministic ? " nondeterministic" : "");
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(stream_, &capture), "asking for the state of a stream");
    MLKD_CHECK(capture == cudaStreamCaptureStatusNone, "convolution " + key + " has no plan yet: run the step once before it is captured");
    const ConvolutionGraph graph(target_, problem);
    if (const auto known = plan_file_.find(key)) {
        std::string why;
        if (auto plan = ConvolutionPlan::make(graph, EngineChoice::parse(*known).value(), why)) return plan;
    }
    if (!problem.accumulate) return quickest_plan(graph, key, rules, operands);
    // Timing would add many times over: it gets a result of its own.
    const std::int64_t elements = problem.n * problem.h * problem.w * problem.c;
    const DeviceMemory elsewhere = allocate_device_memory(static_cast<std::size_t>(elements) * size_of(problem.dtype), stream_);
    ConvolutionOperands harmless = operands;
    harmless.x = elsewhere.get();
    return quickest_plan(graph, key, rules, harmless);
}

std::unique_ptr<ConvolutionPlan> Convolutions::quickest_plan(const ConvolutionGraph& graph, const std::string& key,
                                                             const EngineRules& rules, const ConvolutionOperands& operands) {
    std::vector<Candidate> candidates;
    std::string why = "no engine is proposed";
    std::size_t workspace_bytes = 0;
    for (const EngineChoice& choice : proposed_engines(graph, rules)) {
        auto plan = ConvolutionPlan::make(graph, choice, why);
        if (plan == nullptr || plan->workspace_bytes() > workspace_limit) continue;
        workspace_bytes = std::max(workspace_bytes, plan->workspace_bytes());
        candidates.push_back({.plan = std::move(plan)});
        if (rules.timed) continue;
        Timer(target_.handle, stream_, operands, workspace_.reserve(workspace_bytes)).time(candidates.back());
        if (!candidates.back().failed) return std::move(candidates.back().plan);
        candidates.pop_back();
    }
    if (!candidates.empty()) {
        Timer timer(target_.handle, stream_, operands, workspace_.reserve(workspace_bytes));
        time_in_turn(candidates, timer);
        why = "no engine would start";
    }
    if (candidates.empty()) throw Error(fmt::format("cuDNN {} cannot run convolution {}: {}", target_.cudnn.version(), key, why));
    // cuDNN's first guess stays unless another is clearly quicker: the choice then depends less on the noise of timing.
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < candidates.size(); ++i)
        if (candidates[i].milliseconds < 0.97f * candidates[chosen].milliseconds) chosen = i;
    plan_file_.remember(key, candidates[chosen].plan->choice().text());
    return std::move(candidates[chosen].plan);
}

}  // namespace mlkd::cuda
