#include <cmath>

#include "engine/kernels/launch.h"
#include "losses/standardization.h"

namespace mlkd {
namespace {

constexpr double epsilon = 1e-7;

// Mean and deviation of a row, in double: of float's squares, a constant row's would not be 0.
struct RowMoments {
    double mean, deviation;

    template <class Team>
    MLKD_HD RowMoments(const Team& team, const float* z, std::int64_t n) {
        double sum = 0, squares = 0;
        for (std::int64_t k = team.rank(); k < n; k += team.size()) sum += z[k];
        mean = team.sum(sum) / static_cast<double>(n);
        for (std::int64_t k = team.rank(); k < n; k += team.size()) squares += (z[k] - mean) * (z[k] - mean);
        deviation = sqrt(team.sum(squares) / static_cast<double>(n - 1));
    }
};

struct Standardize {
    float* out;           // (rows, C)
    const float* logits;  // (rows, C)
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const float* z = logits + row * classes;
        const RowMoments moments(team, z, classes);
        for (std::int64_t k = team.rank(); k < classes; k += team.size())
            out[row * classes + k] = static_cast<float>((z[k] - moments.mean) / (moments.deviation + epsilon));
    }
};

// With s the deviation and c = z − mean: dL/dz += (g − mean g) / (s + ε) − c · ⟨g, c⟩ / ((s + ε)² s (C − 1)).
struct StandardizeBackward {
    float* dL_dlogits;     // (rows, C)
    const float* dL_dout;  // (rows, C): g
    const float* logits;   // (rows, C): z
    std::int64_t classes;

    template <class Team>
    MLKD_HD void operator()(const Team& team, std::int64_t row) const {
        const float *z = logits + row * classes, *g = dL_dout + row * classes;
        const RowMoments moments(team, z, classes);
        double sum = 0, along = 0;
        for (std::int64_t k = team.rank(); k < classes; k += team.size()) {
            sum += g[k];
            along += g[k] * (z[k] - moments.mean);
        }
        const double mean = team.sum(sum) / static_cast<double>(classes), s = moments.deviation + epsilon;
        along = team.sum(along);
        along = moments.deviation > 0 ? along / (s * s * moments.deviation * static_cast<double>(classes - 1)) : 0;
        for (std::int64_t k = team.rank(); k < classes; k += team.size())
            dL_dlogits[row * classes + k] += static_cast<float>((g[k] - mean) / s - along * (z[k] - moments.mean));
    }
};

Tensor standardize(const LossCall& call, const char* name, const Tensor& logits) {
    const Tensor out = call.floats(name, logits.shape);
    for_each_row(call.stream(), logits.dim(0), Standardize{out.as<float>(), logits.as<float>(), logits.dim(1)});
    return out;
}

}  // namespace

StandardizedLogits::StandardizedLogits(const LossCall& call, bool standardized)
    : student(call.student), teacher(call.teacher), gradient(call.dL_dlogits), call_(call), standardized_(standardized) {
    if (!standardized) return;
    student = standardize(call, "loss/standardized student", call.student);
    teacher = standardize(call, "loss/standardized teacher", call.teacher);
    gradient = call.floats("loss/standardized gradient", call.student.shape);
    call.backend.fill_zero(gradient.data, gradient.bytes());
}

void StandardizedLogits::finish() const {
    if (!standardized_) return;
    for_each_row(call_.stream(), student.dim(0),
                 StandardizeBackward{call_.dL_dlogits.as<float>(), gradient.as<float>(), call_.student.as<float>(), student.dim(1)});
}

}  // namespace mlkd
