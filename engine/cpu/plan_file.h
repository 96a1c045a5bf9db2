#pragma once
// The choices made by timing, kept in a JSON file: a later run makes the same ones, and so repeats bit for bit.
#include <map>
#include <optional>
#include <string>

#include "engine/cpu/convolution_plan.h"

namespace mlkd {

class PlanFile {
public:
    // Reads `path` where it exists; "" remembers in memory only. Choices made on another machine (CPU, number of threads,
    // oneDNN: `machine` says which) are dropped, as their times mean nothing here. Throws Error when the file cannot be
    // read or is no plan file.
    PlanFile(std::string path, std::string machine);

    std::optional<ConvolutionMethod> find(const std::string& problem) const;
    // Writes the file at once, whole or not at all. Throws Error when it cannot.
    void remember(const std::string& problem, ConvolutionMethod method);

private:
    void read();

    std::string path_, machine_;
    std::map<std::string, ConvolutionMethod> choices_;
};

}  // namespace mlkd
