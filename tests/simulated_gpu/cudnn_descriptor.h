#pragma once
// Descriptors of the simulated cuDNN: each stands for one of the real library, and remembers what was set in it.
#include <cudnn_graph.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <vector>

namespace mlkd::simulated {

struct Description;

// As cudnnBackendSetAttribute() got it.
struct Attribute {
    cudnnBackendAttributeType_t type;
    std::int64_t count = 0;
    std::vector<std::byte> values;                          // `count` elements of `type`
    std::vector<std::shared_ptr<const Description>> parts;  // the same of a CUDNN_TYPE_BACKEND_DESCRIPTOR
};

// Constant once it is finalized.
struct Description {
    cudnnBackendDescriptorType_t type;
    bool finalized = false;
    std::map<cudnnBackendAttributeName_t, Attribute> attributes;
    // Of heuristics, their results, engines, configurations and plans:
    std::shared_ptr<const Description> graph;  // what they were asked to run
    // Of plans:
    std::vector<cudnnBackendNumericalNote_t> notes;  // of the engine
    std::int64_t workspace_bytes = 0;
};

// Of a descriptor that was created and not destroyed; else throws Refusal.
std::shared_ptr<const Description> description_of(cudnnBackendDescriptor_t descriptor);

}  // namespace mlkd::simulated
