#pragma once
// Runs one case of reference values, as tests/golden/README.md defines them, and compares.
#include <limits>
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/files/safetensors.h"

namespace mlkd::golden {

// What a ReLU's sign that float32 rounding flips does to a quantity: nothing but what rounding does anyway; a step in a
// gradient; or that step carried through further training.
enum class Flips { nothing, gradient, training };

// How far a quantity is from the reference.
struct Comparison {
    double error = 0;       // relative, norm-wise; infinite for what is missing or not finite
    double tolerance = 0;
    std::string where;      // "grad.conv1.weight"
    Flips flips = Flips::nothing;

    double share() const {
        constexpr double infinity = std::numeric_limits<double>::infinity();
        return error == 0 ? 0.0 : error == infinity || tolerance == 0 ? infinity : error / tolerance;
    }
};

class Report {
public:
    // ‖got − expected‖ / ‖expected‖ against the tolerance; a non-finite or missing value fails.
    void compare(const std::string& where, const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                 Flips flips = Flips::nothing);
    // Counts entries that differ at all; none may.
    void compare_exactly(const std::string& where, const std::vector<std::uint8_t>& got, const std::vector<std::uint8_t>& expected);
    // The one with the largest share of its tolerance.
    Comparison worst() const;
    bool passed() const { return !comparisons_.empty() && worst().share() <= 1.0; }
    // The same comparisons, with the tolerances of a float32 run in which signs flip: see verdict.cpp.
    Report allowing_flips() const;

private:
    std::vector<Comparison> comparisons_;
};

// precision: f32 or f64, of the networks; losses and augmentations have but one.
Report run_case(Backend& backend, const SafetensorsFile& file, DType precision);

Report run_loss_case(Backend& backend, const SafetensorsFile& file);
Report run_model_case(Backend& backend, const SafetensorsFile& file, DType precision);
Report run_trajectory_case(Backend& backend, const SafetensorsFile& file, DType precision);
Report run_augment_case(const SafetensorsFile& file);

struct Verdict {
    bool passed;
    std::string text;  // one line without its end
};
// precision: auto, f32 or f64.
Verdict judge(Backend& backend, const SafetensorsFile& file, const std::string& precision);

// Elements of an expected tensor as double, whatever its type.
std::vector<double> expected_values(const SafetensorsFile& file, const std::string& name);

}  // namespace mlkd::golden
