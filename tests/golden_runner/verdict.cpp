#include <fmt/format.h>

#include "cases.h"

namespace mlkd::golden {
namespace {

constexpr double flipped_gradient_tolerance = 0.1;

std::string text_of(const Comparison& comparison) {
    return fmt::format("{:.2e} (tolerance {:.0e}) at {}", comparison.error, comparison.tolerance, comparison.where);
}

}  // namespace

// The gradient of a network of ReLUs jumps where a pre-activation changes sign. A deep network has millions of them, a few so
// near zero that float32 rounding decides their signs, in any program and in another way in each: the gradient then differs
// from the reference by a step that no care with rounding avoids, and training carries it on. So the tolerances for
// gradients and training are a demand on the computation, met in float64, where signs do not flip; and a float32 run whose
// signs flip must still have gradients near the reference, and finite results after further training. Flips are not counted
// here: README.md says how they were.
Report Report::allowing_flips() const {
    Report report = *this;
    for (Comparison& comparison : report.comparisons_) {
        if (comparison.flips == Flips::gradient) comparison.tolerance = flipped_gradient_tolerance;
        if (comparison.flips == Flips::training) comparison.tolerance = std::numeric_limits<double>::infinity();
    }
    return report;
}

// auto: a case passes in float32 alone, within all tolerances; or else in float64, within the same tolerances, where the
// float32 run is within them too for everything before the first backward pass, and otherwise as allowing_flips() says.
Verdict judge(Backend& backend, const SafetensorsFile& file, const std::string& precision) {
    const Report first = run_case(backend, file, precision == "f64" ? DType::f64 : DType::f32);
    const std::string& kind = file.meta("case");
    const bool has_network = kind == "model" || kind == "trajectory";
    if (first.passed() || precision != "auto" || !has_network) return {first.passed(), "largest error " + text_of(first.worst())};

    const Report exact = run_case(backend, file, DType::f64), allowing = first.allowing_flips();
    const std::string float64 = "float64 " + text_of(exact.worst()) + "; float32 ";
    if (!allowing.passed()) return {false, float64 + text_of(allowing.worst())};
    const Comparison worst = first.worst();
    return {exact.passed(), float64 + fmt::format("{:.1e} at {}, allowed for flipped ReLU signs", worst.error, worst.where)};
}

}  // namespace mlkd::golden
