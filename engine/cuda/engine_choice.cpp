#include "engine/cuda/engine_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

namespace mlkd::cuda {
namespace {

using NumericalNotes = std::vector<cudnnBackendNumericalNote_t>;

struct Proposal {
    EngineChoice choice;
    NumericalNotes notes;
    bool ready_made;
};

template <class Note> bool has(const std::vector<Note>& notes, Note note) {
    return std::find(notes.begin(), notes.end(), note) != notes.end();
}

bool is_coarse(const NumericalNotes& notes) {
    return has(notes, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) || has(notes, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION);
}

Proposal read_proposal(const PlanTarget& target, const Descriptor& configuration) {
    Proposal proposal{};
    const std::vector<Descriptor> engines = configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    target.cudnn.check(engines.size() == 1 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_INTERNAL_ERROR, "engine of a configuration");
    const Descriptor& engine = engines.front();
    proposal.choice.engine = engine.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    for (const Descriptor& knob :
         configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR, CUDNN_KNOB_TYPE_COUNTS))
        proposal.choice.knobs.push_back({knob.get<cudnnBackendKnobType_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE),
                                         knob.get<std::int64_t>(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE)});

    proposal.notes = engine.get_array<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
    const auto behavior = engine.get_array<cudnnBackendBehaviorNote_t>(CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE);
    proposal.ready_made = !has(behavior, CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
    return proposal;
}

// cuDNN's answer to one way of asking; nothing where it has no engine for the graph.
std::vector<Descriptor> ask(const ConvolutionGraph& graph, cudnnBackendHeurMode_t mode) {
    const PlanTarget& target = graph.target();
    Descriptor heuristics(target.cudnn, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set_descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph.graph());
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, mode);
    if (target.handle == nullptr) heuristics.set_descriptor(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
    if (heuristics.try_finalize() != CUDNN_STATUS_SUCCESS) return {};
    return heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
}

// All that cuDNN proposes, best guess first; some twice.
std::vector<Proposal> ask_all(const ConvolutionGraph& graph) {
    std::vector<Proposal> proposals;
    for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK})
        for (const Descriptor& configuration : ask(graph, mode)) proposals.push_back(read_proposal(graph.target(), configuration));
    return proposals;
}

}  // namespace

std::string EngineChoice::text() const {
    std::string text = fmt::format("engine {} knobs", engine);
    for (const Knob& knob : knobs) text += fmt::format(" {}={}", knob.type, knob.value);
    return text;
}

std::optional<EngineChoice> EngineChoice::parse(const std::string& text) {
    std::istringstream in(text);
    EngineChoice choice;
    std::string engine, knobs;
    if (!(in >> engine >> choice.engine >> knobs) || engine != "engine" || knobs != "knobs") return std::nullopt;
    for (Knob knob{}; in >> knob.type;) {
        if (in.get() != '=' || !(in >> knob.value)) return std::nullopt;
        choice.knobs.push_back(knob);
    }
    return choice.text() == text ? std::optional(choice) : std::nullopt;
}

bool is_allowed(const std::vector<cudnnBackendNumericalNote_t>& notes, const EngineRules& rules) {
    return !is_coarse(notes) && (rules.tensor_cores || !has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE)) &&
           (rules.nondeterministic || !has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC));
}

std::vector<EngineChoice> proposed_engines(const ConvolutionGraph& graph, const EngineRules& rules) {
    std::vector<Proposal> proposals = ask_all(graph);
    std::erase_if(proposals, [&](const Proposal& proposal) { return !is_allowed(proposal.notes, rules); });
    const bool any_ready_made = std::any_of(proposals.begin(), proposals.end(), [](const Proposal& p) { return p.ready_made; });
    std::vector<EngineChoice> choices;
    for (const Proposal& proposal : proposals)
        if (proposal.ready_made == any_ready_made && std::find(choices.begin(), choices.end(), proposal.choice) == choices.end())
            choices.push_back(proposal.choice);
    return choices;
}

std::string left_out_engines(const ConvolutionGraph& graph, const EngineRules& rules) {
    const std::vector<Proposal> proposals = ask_all(graph);
    const auto count = [&](auto condition) {
        return std::count_if(proposals.begin(), proposals.end(), [&](const Proposal& p) { return condition(p.notes); });
    };
    std::string text = fmt::format("cuDNN proposes {} engines", proposals.size());
    std::string separator = "; of them ";
    const auto add = [&](std::ptrdiff_t engines, const char* do_what) {
        if (engines == 0) return;
        text += fmt::format("{}{} {}", separator, engines, do_what);
        separator = ", ";
    };
    add(count(is_coarse), "round their inputs or sums");
    if (!rules.tensor_cores)
        add(count([](const NumericalNotes& notes) { return has(notes, CUDNN_NUMERICAL_NOTE_TENSOR_CORE); }),
            "use tensor cores (--precision tf32 takes them)");
    if (!rules.nondeterministic)
        add(count([](const NumericalNotes& notes) { return has(notes, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC); }),
            "are nondeterministic (--nondeterministic takes them)");
    return text;
}

std::optional<Descriptor> engine_configuration(const ConvolutionGraph& graph, const EngineChoice& choice, std::string& why) {
    const PlanTarget& target = graph.target();
    const auto refused = [&](cudnnStatus_t status) {
        if (status != CUDNN_STATUS_SUCCESS) why = target.cudnn.reason(status);
        return status != CUDNN_STATUS_SUCCESS;
    };
    Descriptor engine(target.cudnn, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    engine.set_descriptor(CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph.graph());
    engine.set(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, choice.engine);
    if (target.handle == nullptr) engine.set_descriptor(CUDNN_ATTR_ENGINE_DEVICEPROP, *target.properties);
    if (refused(engine.try_finalize())) return std::nullopt;
    std::vector<Descriptor> knobs;
    for (const EngineChoice::Knob& knob : choice.knobs) {
        Descriptor& one = knobs.emplace_back(target.cudnn, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
        one.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, static_cast<cudnnBackendKnobType_t>(knob.type));
        one.set(CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, knob.value);
        if (refused(one.try_finalize())) return std::nullopt;
    }
    Descriptor configuration(target.cudnn, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    configuration.set_descriptor(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    if (!knobs.empty()) configuration.set_descriptors(CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, knobs);
    if (refused(configuration.try_finalize())) return std::nullopt;
    return configuration;
}

}  // namespace mlkd::cuda
