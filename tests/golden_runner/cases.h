#pragma once
// Runs one case of reference values, as tests/golden/README.md defines them, and compares.
#include <string>
#include <vector>

#include "engine/backend.h"
#include "engine/safetensors.h"

namespace mlkd::golden {

// How far the worst compared quantity of a case is from the reference, as a share of its tolerance.
struct Comparison {
    double error = 0;       // relative, norm-wise
    double tolerance = 0;
    std::string where;      // "grad.conv1.weight"
    double share() const { return tolerance > 0 ? error / tolerance : (error > 0 ? 1e300 : 0.0); }
};

class Report {
public:
    // ‖got − expected‖ / ‖expected‖ against the tolerance; a non-finite or missing value fails.
    void compare(const std::string& where, const std::vector<double>& got, const std::vector<double>& expected, double tolerance);
    // Counts entries that differ at all; none may.
    void compare_exactly(const std::string& where, const std::vector<std::uint8_t>& got, const std::vector<std::uint8_t>& expected);
    const Comparison& worst() const { return worst_; }
    bool passed() const { return compared_ > 0 && worst_.share() <= 1.0; }

private:
    void add(const Comparison& comparison);
    Comparison worst_;
    int compared_ = 0;
};

Report run_case(Backend& backend, const SafetensorsFile& file);

Report run_loss_case(Backend& backend, const SafetensorsFile& file);
Report run_model_case(Backend& backend, const SafetensorsFile& file);
Report run_trajectory_case(Backend& backend, const SafetensorsFile& file);
Report run_augment_case(const SafetensorsFile& file);

// Elements of an expected tensor as double, whatever its type.
std::vector<double> expected_values(const SafetensorsFile& file, const std::string& name);

}  // namespace mlkd::golden
