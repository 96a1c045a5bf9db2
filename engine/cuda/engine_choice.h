#pragma once
// Which of cuDNN's engines runs a graph, and with which settings ("knobs"): found by cuDNN's heuristics, written to plan
// files, and enough to build the same plan again.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda/convolution_graph.h"

namespace mlkd::cuda {

struct EngineChoice {
    struct Knob {
        std::int64_t type, value;
        bool operator==(const Knob&) const = default;
    };
    std::int64_t engine = 0;  // cuDNN's global index
    std::vector<Knob> knobs;

    bool operator==(const EngineChoice&) const = default;
    std::string text() const;  // "engine 44 knobs 2=20 12=0"
    static std::optional<EngineChoice> parse(const std::string& text);
};

// What an engine may do to qualify. None may round its inputs to a smaller type, or add up in less than float32.
struct EngineRules {
    bool tensor_cores = true;      // float32 operands are then rounded to TF32
    bool nondeterministic = false; // sums whose order changes from run to run
    bool timed = true;             // the quickest one is taken; else the first one that runs
};

// Whether an engine with these notes qualifies.
bool is_allowed(const std::vector<cudnnBackendNumericalNote_t>& notes, const EngineRules& rules);

// The engines that cuDNN proposes for the graph and the rules allow, best guess first, none twice. Those compiled at run
// time come only where no ready-made one is left: each costs seconds at the start.
std::vector<EngineChoice> proposed_engines(const ConvolutionGraph& graph, const EngineRules& rules);

// Why none may be left, for people: "cuDNN proposes 5 engines; of them 3 round their inputs or sums, 2 are nondeterministic". An
// engine may be counted twice; tensor cores are counted where the rules forbid them, nondeterministic ones likewise.
std::string left_out_engines(const ConvolutionGraph& graph, const EngineRules& rules);

// The configuration of an engine, to build a plan from; no value where this cuDNN refuses it, with the reason in `why`.
std::optional<Descriptor> engine_configuration(const ConvolutionGraph& graph, const EngineChoice& choice, std::string& why);

}  // namespace mlkd::cuda
