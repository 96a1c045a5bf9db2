#pragma once
// Convolutions of the CPU backend: a plan for each call, made once, its method given or chosen by timing.
#include <map>
#include <memory>
#include <string>

#include "engine/cpu/convolution_plan.h"
#include "engine/files/plan_file.h"

namespace mlkd::cpu {

enum class ConvolutionPolicy { automatic, direct, winograd };

// Whether a plan file's choice is one of this backend's: the name of a ConvolutionMethod.
bool is_convolution_method(const std::string& choice);

class Convolutions {
public:
    Convolutions(OneDnn& onednn, ConvolutionPolicy policy, PlanFile plan_file);

    void run(const ConvolutionCall& call, const ConvolutionOperands& operands);

private:
    std::unique_ptr<ConvolutionPlan> make_plan(const ConvolutionCall& call);
    // Times every method that oneDNN has for the call, on memory of its own.
    std::unique_ptr<ConvolutionPlan> quickest_plan(const ConvolutionCall& call);

    OneDnn& onednn_;
    ConvolutionPolicy policy_;
    PlanFile plan_file_;
    std::map<ConvolutionCall, std::unique_ptr<ConvolutionPlan>> plans_;
};

}  // namespace mlkd::cpu
