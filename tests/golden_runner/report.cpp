#include <algorithm>
#include <cmath>
#include <limits>

#include "cases.h"
#include "engine/error.h"

namespace mlkd::golden {

Comparison Report::worst() const {
    if (comparisons_.empty()) return {};
    return *std::max_element(comparisons_.begin(), comparisons_.end(),
                             [](const Comparison& a, const Comparison& b) { return a.share() < b.share(); });
}

void Report::compare(const std::string& where, const std::vector<double>& got, const std::vector<double>& expected, double tolerance,
                     Flips flips) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    if (got.size() != expected.size()) {
        comparisons_.push_back({infinity, tolerance, where + " (wrong size)", flips});
        return;
    }
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        difference += (got[i] - expected[i]) * (got[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    // A reference of exactly zero may be a tiny number that float64 lost against 1: it is met by what is as small.
    constexpr double in_place_of_zero = 1e-10;
    double error = std::sqrt(difference) / (norm > 0 ? std::sqrt(norm) : in_place_of_zero);
    if (!std::isfinite(error)) error = infinity;
    comparisons_.push_back({error, tolerance, where, flips});
}

void Report::compare_exactly(const std::string& where, const std::vector<std::uint8_t>& got, const std::vector<std::uint8_t>& expected) {
    std::size_t differing = got.size() == expected.size() ? 0 : 1;
    for (std::size_t i = 0; i < std::min(got.size(), expected.size()); ++i) differing += got[i] != expected[i];
    comparisons_.push_back({static_cast<double>(differing), 0.0, where});
}

std::vector<double> expected_values(const SafetensorsFile& file, const std::string& name) {
    const HostTensor& tensor = file.tensor(name);
    const auto widened = [](auto span) { return std::vector<double>(span.begin(), span.end()); };
    switch (tensor.dtype) {
        case DType::f64: return widened(tensor.as<double>());
        case DType::f32: return widened(tensor.as<float>());
        case DType::i64: return widened(tensor.as<std::int64_t>());
        default: throw Error(name + ": unexpected element type " + name_of(tensor.dtype));
    }
}

Report run_case(Backend& backend, const SafetensorsFile& file, DType precision) {
    const std::string& kind = file.meta("case");
    if (kind == "loss") return run_loss_case(backend, file);
    if (kind == "model") return run_model_case(backend, file, precision);
    if (kind == "trajectory") return run_trajectory_case(backend, file, precision);
    if (kind == "augment") return run_augment_case(file);
    throw Error("unknown kind of case '" + kind + "'");
}

}  // namespace mlkd::golden
