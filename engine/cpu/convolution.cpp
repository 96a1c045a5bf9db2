#include "engine/cpu/convolution.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/types.h"

namespace mlkd::cpu {
namespace {

// Memory for timing a plan: the user's own would be overwritten. Small values that are no zeros, denormals or infinities.
class TimingOperands {
public:
    explicit TimingOperands(const ConvolutionCall& p)
        : x_(filled(p.n * p.h * p.w * p.c, p.dtype)),
          w_(filled(p.k * p.r * p.s * p.c, p.dtype)),
          y_(filled(p.n * p.p() * p.q() * p.k, p.dtype)),
          bias_(filled(p.k, p.dtype)),
          residual_(filled(p.residual ? p.n * p.p() * p.q() * p.k : 1, p.dtype)) {}

    ConvolutionOperands operands() const { return {x_.get(), w_.get(), y_.get(), bias_.get(), residual_.get()}; }

private:
    static HostMemory filled(std::int64_t count, DType dtype) {
        HostMemory memory(static_cast<std::byte*>(allocate_host_memory(static_cast<std::size_t>(count) * size_of(dtype))));
        with_stored_type(dtype, [&](auto zero) {
            using T = decltype(zero);
            T* values = reinterpret_cast<T*>(memory.get());
            for (std::int64_t i = 0; i < count; ++i) values[i] = static_cast<T>(0.01f * static_cast<float>(i % 7 - 3));
        });
        return memory;
    }

    HostMemory x_, w_, y_, bias_, residual_;
};

// A way to solve a call, and how long it took at best.
struct Candidate {
    ConvolutionMethod method;
    std::unique_ptr<ConvolutionPlan> plan;
    double seconds = std::numeric_limits<double>::infinity();
};

double seconds_of(ConvolutionPlan& plan, const ConvolutionOperands& operands) {
    const auto start = std::chrono::steady_clock::now();
    plan.execute(operands);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Runs the candidates in turn, so that a busy moment of the machine hits them alike, and keeps the best time of each.
// The first round warms caches and touches pages; who is hopelessly slower drops out after the third.
void time_in_turn(std::vector<Candidate>& candidates, const ConvolutionOperands& operands) {
    constexpr int rounds = 6;
    for (Candidate& candidate : candidates) candidate.plan->execute(operands);
    for (int round = 1; round < rounds; ++round) {
        double best = std::numeric_limits<double>::infinity();
        for (Candidate& candidate : candidates) {
            candidate.seconds = std::min(candidate.seconds, seconds_of(*candidate.plan, operands));
            best = std::min(best, candidate.seconds);
        }
        if (round >= 2) std::erase_if(candidates, [&](const Candidate& candidate) { return candidate.seconds > 1.3 * best; });
        if (candidates.size() == 1) return;
    }
}

}  // namespace

bool is_convolution_method(const std::string& choice) { return method_named(choice).has_value(); }

Convolutions::Convolutions(OneDnn& onednn, ConvolutionPolicy policy, PlanFile plan_file)
    : onednn_(onednn), policy_(policy), plan_file_(std::move(plan_file)) {}

void Convolutions::run(const ConvolutionCall& call, const ConvolutionOperands& operands) {
    with_onednn_errors("convolution " + call.text(), [&] {
        auto entry = plans_.find(call);
        if (entry == plans_.end()) entry = plans_.emplace(call, make_plan(call)).first;
        entry->second->execute(operands);
    });
}

std::unique_ptr<ConvolutionPlan> Convolutions::make_plan(const ConvolutionCall& call) {
    if (call.dtype == DType::bf16)
        if (const std::string obstacle = cpu_bfloat16_obstacle(); !obstacle.empty()) throw Error(obstacle);
    if (policy_ == ConvolutionPolicy::automatic) return quickest_plan(call);
    std::unique_ptr<ConvolutionPlan> plan;
    if (policy_ == ConvolutionPolicy::winograd) plan = ConvolutionPlan::make(onednn_, call, ConvolutionMethod::winograd);
    if (plan == nullptr) plan = ConvolutionPlan::make(onednn_, call, ConvolutionMethod::direct);
    MLKD_CHECK(plan != nullptr, "oneDNN " + onednn_version() + " has no convolution " + call.text());
    return plan;
}

std::unique_ptr<ConvolutionPlan> Convolutions::quickest_plan(const ConvolutionCall& call) {
    const std::string key = call.text();
    if (const auto known = plan_file_.find(key))
        if (auto plan = ConvolutionPlan::make(onednn_, call, method_named(*known).value())) return plan;

    std::vector<Candidate> candidates;
    for (const ConvolutionMethod method : convolution_methods)
        if (auto plan = ConvolutionPlan::make(onednn_, call, method)) candidates.push_back({method, std::move(plan)});
    MLKD_CHECK(!candidates.empty(), "oneDNN " + onednn_version() + " has no convolution " + key);
    if (candidates.size() > 1) time_in_turn(candidates, TimingOperands(call).operands());
    // The simpler one, which comes first, stays unless another is clearly quicker: its roundings are fewer, and the choice
    // depends less on the noise of timing.
    std::size_t chosen = 0;
    for (std::size_t i = 1; i < candidates.size(); ++i)
        if (candidates[i].seconds < 0.97 * candidates[chosen].seconds) chosen = i;
    plan_file_.remember(key, name_of(candidates[chosen].method));
    return std::move(candidates[chosen].plan);
}

}  // namespace mlkd::cpu
