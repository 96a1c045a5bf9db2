#pragma once
// Convolutions of the CPU backend: a plan for each problem, made once, its method given or chosen by timing.
#include <map>
#include <memory>
#include <string>

#include "engine/cpu/convolution_plan.h"
#include "engine/files/plan_file.h"

namespace mlkd {

enum class ConvolutionPolicy { automatic, direct, winograd };

// Whether a plan file's choice is one of this backend's: the name of a ConvolutionMethod.
bool is_convolution_method(const std::string& choice);

class Convolutions {
public:
    Convolutions(OneDnn& onednn, ConvolutionPolicy policy, PlanFile plan_file);

    void run(const ConvolutionProblem& problem, const ConvolutionOperands& operands);

private:
    std::unique_ptr<ConvolutionPlan> make_plan(const ConvolutionProblem& problem);
    // Times every method that oneDNN has for the problem, on memory of its own.
    std::unique_ptr<ConvolutionPlan> quickest_plan(const ConvolutionProblem& problem);

    OneDnn& onednn_;
    ConvolutionPolicy policy_;
    PlanFile plan_file_;
    std::map<ConvolutionProblem, std::unique_ptr<ConvolutionPlan>> plans_;
};

}  // namespace mlkd
