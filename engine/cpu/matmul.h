#pragma once
// Matrix products of the CPU backend: one cached oneDNN primitive a problem.
#include <compare>
#include <cstdint>
#include <map>
#include <string>

#include "engine/cpu/onednn.h"

namespace mlkd {

// c = alpha · op(a) · op(b) + beta · c, row-major; op(a) (M, K), op(b) (K, N), c (M, N), each `batch` times.
struct MatmulProblem {
    std::int64_t batch, m, n, k;
    bool transpose_a, transpose_b;
    float alpha, beta;

    auto operator<=>(const MatmulProblem&) const = default;
    std::string text() const;
};

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
