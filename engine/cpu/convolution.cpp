#include "engine/cpu/convolution.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "engine/error.h"

namespace mlkd {
namespace {

// Memory for timing a plan: the user's own would be overwritten. Small values that are no zeros, denormals or infinities.
class TimingOperands {
public:
    explicit TimingOperands(const ConvolutionProblem& p)
        : x_(filled(p.n * p.h * p.w * p.c)),
          w_(filled(p.k * p.r * p.s * p.c)),
          y_(filled(p.n * p.p() * p.q() * p.k)),
          bias_(filled(p.k)),
          residual_(filled(p.residual ? p.n * p.p() * p.q() * p.k : 1)) {}

    ConvolutionOperands operands() const { return {x_.get(), w_.get(), y_.get(), bias_.get(), residual_.get()}; }

private:
    static HostMemory filled(std::int64_t count) {
        HostMemory memory(static_cast<std::byte*>(allocate_host_memory(static_cast<std::size_t>(count) * sizeof(float))));
        float* values = reinterpret_cast<float*>(memory.get());
        for (std::int64_t i = 0; i < count; ++i) values[i] = 0.01f * static_cast<float>(i % 7 - 3);
        return memory;
    }

    HostMemory x_, w_, y_, bias_, residual_;
};

// The quickest of a few runs, in seconds; one run more is not counted, as it warms caches and touches pages. Gives up
// early on a plan that cannot win any more.
double seconds_of(ConvolutionPlan& plan, const ConvolutionOperands& operands, double seconds_to_beat) {
    double quickest = std::numeric_limits<double>::infinity();
    for (int run = 0; run < 5; ++run) {
        const auto start = std::chrono::steady_clock::now();
        plan.execute(operands);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        if (run > 0) quickest = std::min(quickest, seconds);
        if (run > 0 && quickest > 1.5 * seconds_to_beat) break;
    }
    return quickest;
}

}  // namespace

Convolutions::Convolutions(OneDnn& onednn, ConvolutionPolicy policy, PlanFile plan_file)
    : onednn_(onednn), policy_(policy), plan_file_(std::move(plan_file)) {}

void Convolutions::run(const ConvolutionProblem& problem, const ConvolutionOperands& operands) {
    with_onednn_errors("convolution " + problem.text(), [&] {
        auto entry = plans_.find(problem);
        if (entry == plans_.end()) entry = plans_.emplace(problem, make_plan(problem)).first;
        entry->second->execute(operands);
    });
}

std::unique_ptr<ConvolutionPlan> Convolutions::make_plan(const ConvolutionProblem& problem) {
    if (policy_ == ConvolutionPolicy::automatic) return quickest_plan(problem);
    std::unique_ptr<ConvolutionPlan> plan;
    if (policy_ == ConvolutionPolicy::winograd) plan = ConvolutionPlan::make(onednn_, problem, ConvolutionMethod::winograd);
    if (plan == nullptr) plan = ConvolutionPlan::make(onednn_, problem, ConvolutionMethod::direct);
    MLKD_CHECK(plan != nullptr, "oneDNN " + onednn_version() + " has no convolution " + problem.text());
    return plan;
}

std::unique_ptr<ConvolutionPlan> Convolutions::quickest_plan(const ConvolutionProblem& problem) {
    const std::string key = problem.text();
    if (const auto known = plan_file_.find(key))
        if (auto plan = ConvolutionPlan::make(onednn_, problem, *known)) return plan;

    std::unique_ptr<ConvolutionPlan> chosen;
    ConvolutionMethod method{};
    double seconds = std::numeric_limits<double>::infinity();
    const TimingOperands memory(problem);
    for (const ConvolutionMethod candidate : convolution_methods) {
        std::unique_ptr<ConvolutionPlan> plan = ConvolutionPlan::make(onednn_, problem, candidate);
        if (plan == nullptr) continue;
        // The simpler one stays unless the other is clearly quicker: fewer roundings, and less left to the noise of timing.
        const double to_beat = 0.97 * seconds;
        const double time = seconds_of(*plan, memory.operands(), to_beat);
        if (time < to_beat) {
            seconds = time;
            method = candidate;
            chosen = std::move(plan);
        }
    }
    MLKD_CHECK(chosen != nullptr, "oneDNN " + onednn_version() + " has no convolution " + key);
    plan_file_.remember(key, method);
    return chosen;
}

}  // namespace mlkd
