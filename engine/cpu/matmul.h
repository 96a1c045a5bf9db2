#pragma once
// Matrix products of the CPU backend: one cached oneDNN primitive a call.
#include <map>

#include "engine/cpu/onednn.h"
#include "engine/vendor_calls.h"

namespace mlkd::cpu {

class Matmuls {
public:
    explicit Matmuls(OneDnn& onednn) : onednn_(onednn) {}
    void run(const MatmulCall& call, float* c, const float* a, const float* b);

private:
    struct Plan {
        dnnl::matmul primitive;
        dnnl::memory a, b, c, scratchpad;
    };
    Plan make_plan(const MatmulCall& call) const;

    OneDnn& onednn_;
    std::map<MatmulCall, Plan> plans_;
};

}  // namespace mlkd::cpu
