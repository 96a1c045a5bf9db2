#pragma once
// Matrix products of the CPU backend: one cached oneDNN primitive a problem.
#include <map>

#include "engine/cpu/onednn.h"
#include "engine/plan_keys.h"

namespace mlkd {

class Matmuls {
public:
    explicit Matmuls(OneDnn& onednn) : onednn_(onednn) {}
    void run(const MatmulProblem& problem, float* c, const float* a, const float* b);

private:
    struct Plan {
        dnnl::matmul primitive;
        dnnl::memory a, b, c, scratchpad;
    };
    Plan make_plan(const MatmulProblem& problem) const;

    OneDnn& onednn_;
    std::map<MatmulProblem, Plan> plans_;
};

}  // namespace mlkd
