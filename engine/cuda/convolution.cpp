#include "engine/cuda/convolution.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/cuda/graph.h"
#include "engine/error.h"

namespace mlkd::cuda {
namespace {

struct Candidate {
    std::unique_ptr<ConvolutionPlan> plan;
    std::unique_ptr<Graph> graph = nullptr;                       // of `runs` runs; none before it is recorded
    int runs = 1;
    float milliseconds = std::numeric_limits<float>::infinity();  // of one run, at best
};

// Runs plans on a call's operands, with a workspace that is gone when the choice is made: the one that all plans share need not be as
// large as the hungriest candidate's. Candidates must be gone before the trial is, as their graphs hold its workspace.
class Trial {
public:
    Trial(cudnnHandle_t handle, cudaStream_t stream, const ConvolutionOperands& operands, std::size_t workspace_bytes)
        : handle_(handle),
          stream_(stream),
          operands_(operands),
          workspace_(allocate_device_memory(workspace_bytes, stream)),
          start_(make_event()),
          stop_(make_event()) {}

    // Whether the plan starts: there are engines that are proposed, can be built, and then do not. The first run also loads an engine's
    // code, which a graph could not.
    bool starts(const ConvolutionPlan& plan) {
        const bool started = without_error([&] { execute(plan); });
        check_cuda(cudaStreamSynchronize(stream_), "trying an engine");
        return started;
    }
    // Whether the candidate, which starts, can be recorded: as a graph it is timed, since a step is one. A graph of a millisecond
    // takes far longer than starting it.
    bool record(Candidate& candidate) {
        constexpr float wanted_milliseconds = 1, most_runs = 10;
        return without_error([&] {
            const float one = milliseconds_of([&] { execute(*candidate.plan); });
            candidate.runs = static_cast<int>(std::clamp(wanted_milliseconds / one, 1.0f, most_runs));
            candidate.graph = std::make_unique<Graph>(stream_, [&] {
                for (int run = 0; run < candidate.runs; ++run) execute(*candidate.plan);
            });
        });
    }
    void time(Candidate& candidate) {
        const float elapsed = milliseconds_of([&] { candidate.graph->replay(); });
        candidate.milliseconds = std::min(candidate.milliseconds, elapsed / static_cast<float>(candidate.runs));
    }

private:
    template <class Work> float milliseconds_of(const Work& work) {
        check_cuda(cudaEventRecord(start_.get(), stream_), "timing");
        work();
        check_cuda(cudaEventRecord(stop_.get(), stream_), "timing");
        check_cuda(cudaStreamSynchronize(stream_), "timing");
        float elapsed = 0;
        check_cuda(cudaEventElapsedTime(&elapsed, start_.get(), stop_.get()), "timing");
        return elapsed;
    }
    void execute(const ConvolutionPlan& plan) { plan.execute(handle_, operands_, workspace_.get()); }
    template <class Work> static bool without_error(const Work& work) {
        try {
            work();
            return true;
        } catch (const Error&) {
            cudaGetLastError();  // another engine has to do
            return false;
        }
    }

    cudnnHandle_t handle_;
    cudaStream_t stream_;
    const ConvolutionOperands& operands_;
    DeviceMemory workspace_;
    EventHandle start_, stop_;
};

// nullptr where the engine cannot be built or asks for too much workspace; `why` then says so.
std::unique_ptr<ConvolutionPlan> make_small_plan(const ConvolutionGraph& graph, const EngineChoice& choice, std::string& why) {
    auto plan = ConvolutionPlan::make(graph, choice, why);
    if (plan == nullptr || plan->workspace_bytes() <= workspace_limit) return plan;
    why = fmt::format("an engine asks for {} bytes of workspace", plan->workspace_bytes());
    return nullptr;
}

// In turn, so that a busy moment of the machine hits the candidates alike. The first round warms caches.
void time_in_turn(std::vector<Candidate>& candidates, Trial& trial) {
    constexpr int rounds = 5;
    for (int round = 0; round < rounds; ++round) {
        float best = std::numeric_limits<float>::infinity();
        for (Candidate& candidate : candidates) {
            if (round == 1) candidate.milliseconds = std::numeric_limits<float>::infinity();
            trial.time(candidate);
            best = std::min(best, candidate.milliseconds);
        }
        std::erase_if(candidates, [&](const Candidate& candidate) { return round >= 1 && candidate.milliseconds > 1.3f * best; });
    }
}

}  // namespace

bool is_engine_choice(const std::string& choice) { return EngineChoice::parse(choice).has_value(); }

ConvolutionCall supported_form(ConvolutionCall call) {
    call.bias = call.bias || call.residual || call.relu;
    return call;
}

Convolutions::Convolutions(const PlanTarget& target, cudaStream_t stream, const EngineRules& rules, std::shared_ptr<PlanFile> plan_file)
    : target_(target), stream_(stream), rules_(rules), plan_file_(std::move(plan_file)), workspace_(stream), zeros_(stream) {}

void Convolutions::run(const ConvolutionCall& call, const ConvolutionOperands& operands) {
    const ConvolutionCall asked = supported_form(call);
    ConvolutionOperands given = operands;
    if (asked.bias && !call.bias) given.bias = zeros_.reserve(static_cast<std::size_t>(call.k) * size_of(call.dtype));
    auto entry = plans_.find(asked);
    if (entry == plans_.end()) entry = plans_.emplace(asked, make_plan(asked, given)).first;
    const ConvolutionPlan& plan = *entry->second;
    plan.execute(target_.handle, given, workspace_.reserve(plan.workspace_bytes()));
}

// Products of bfloat16 are exact in float32, also on tensor cores.
EngineRules Convolutions::rules_for(const ConvolutionCall& call) const {
    EngineRules rules = rules_;
    rules.tensor_cores = rules.tensor_cores || call.dtype == DType::bf16;
    return rules;
}

std::unique_ptr<ConvolutionPlan> Convolutions::make_plan(const ConvolutionCall& call, const ConvolutionOperands& operands) {
    const EngineRules rules = rules_for(call);
    const char* const precision = call.dtype == DType::bf16 ? "" : rules.tensor_cores ? " tf32" : " fp32";  // bf16: said already
    const std::string key = fmt::format("{}{}{}", call.text(), precision, rules.nondeterministic ? " nondeterministic" : "");
    cudaStreamCaptureStatus capture = cudaStreamCaptureStatusNone;
    check_cuda(cudaStreamIsCapturing(stream_, &capture), "asking for the state of a stream");
    MLKD_CHECK(capture == cudaStreamCaptureStatusNone, "convolution " + key + " has no plan yet: run the step once before it is captured");
    const ConvolutionGraph graph(target_, call);
    if (const auto known = plan_file_->find(key)) {
        std::string why;
        if (auto plan = ConvolutionPlan::make(graph, EngineChoice::parse(*known).value(), why)) return plan;
    }
    const auto choose = [&](const ConvolutionOperands& on) {
        return rules.timed ? quickest_plan(graph, key, rules, on) : first_plan(graph, key, rules, on);
    };
    if (!call.accumulate) return choose(operands);
    // Each trial would add once more: it gets a result of its own.
    const std::int64_t elements = call.n * call.h * call.w * call.c;
    const DeviceMemory elsewhere = allocate_device_memory(static_cast<std::size_t>(elements) * size_of(call.dtype), stream_);
    ConvolutionOperands harmless = operands;
    harmless.x = elsewhere.get();
    return choose(harmless);
}

std::vector<EngineChoice> Convolutions::engines_for(const ConvolutionGraph& graph, const std::string& key, const EngineRules& rules) const {
    auto choices = proposed_engines(graph, rules);
    if (choices.empty()) fail(key, left_out_engines(graph, rules));
    return choices;
}

std::unique_ptr<ConvolutionPlan> Convolutions::first_plan(const ConvolutionGraph& graph, const std::string& key, const EngineRules& rules,
                                                          const ConvolutionOperands& operands) {
    std::string why;
    for (const EngineChoice& choice : engines_for(graph, key, rules)) {
        auto plan = make_small_plan(graph, choice, why);
        if (plan == nullptr) continue;
        if (Trial(target_.handle, stream_, operands, plan->workspace_bytes()).starts(*plan)) return plan;
        why = "no engine would start";
    }
    fail(key, why);
}

std::unique_ptr<ConvolutionPlan> Convolutions::quickest_plan(const ConvolutionGraph& graph, const std::string& key,
                                                             const EngineRules& rules, const ConvolutionOperands& operands) {
    std::vector<std::unique_ptr<ConvolutionPlan>> plans;
    std::string why;
    std::size_t workspace_bytes = 0;
    for (const EngineChoice& choice : engines_for(graph, key, rules)) {
        auto plan = make_small_plan(graph, choice, why);
        if (plan == nullptr) continue;
        workspace_bytes = std::max(workspace_bytes, plan->workspace_bytes());
        plans.push_back(std::move(plan));
    }
    if (plans.empty()) fail(key, why);
    Trial trial(target_.handle, stream_, operands, workspace_bytes);
    std::vector<Candidate> candidates;
    for (auto& plan : plans) {
        if (!trial.starts(*plan)) continue;
        Candidate candidate{.plan = std::move(plan)};
        if (trial.record(candidate)) candidates.push_back(std::move(candidate));
    }
    if (candidates.empty()) fail(key, "no engine would start");
    time_in_turn(candidates, trial);
    // cuDNN's first guess stays unless another is clearly quicker: the choice then depends less on the noise of timing.
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < candidates.size(); ++i)
        if (candidates[i].milliseconds < 0.97f * candidates[chosen].milliseconds) chosen = i;
    plan_file_->remember(key, candidates[chosen].plan->choice().text());
    return std::move(candidates[chosen].plan);
}

void Convolutions::fail(const std::string& key, const std::string& why) const {
    throw Error(fmt::format("cuDNN {} cannot run convolution {}: {}", target_.cudnn.version(), key, why));
}

}  // namespace mlkd::cuda
