#include "tests/simulated_gpu/cudnn_descriptor.h"

#include <fmt/format.h>

#include <cstring>
#include <mutex>
#include <utility>

#include "tests/simulated_gpu/cudnn_library.h"

namespace mlkd::simulated {
namespace {

struct Entry {
    std::shared_ptr<Description> description;
    cuda::Descriptor real;
};

// All descriptors that live. Its mutex is held for a whole call.
struct Registry {
    std::mutex mutex;
    std::map<cudnnBackendDescriptor_t, Entry> entries;  // by the address of their description

    Entry& find(cudnnBackendDescriptor_t descriptor) {
        const auto entry = entries.find(descriptor);
        if (entry == entries.end())
            throw Refusal(CUDNN_STATUS_BAD_PARAM,
                          fmt::format("there is no descriptor {}: it was never created, or is destroyed", descriptor));
        return entry->second;
    }
};

Registry& registry() {
    static Registry& all = *new Registry;  // never destroyed: backends may live as long as the program
    return all;
}

std::size_t size_of(cudnnBackendAttributeType_t type) {
    switch (type) {
        case CUDNN_TYPE_BOOLEAN:
        case CUDNN_TYPE_CHAR:
            return 1;
        case CUDNN_TYPE_INT64:
        case CUDNN_TYPE_DOUBLE:
        case CUDNN_TYPE_VOID_PTR:
        case CUDNN_TYPE_HANDLE:
        case CUDNN_TYPE_BACKEND_DESCRIPTOR:
            return 8;
        default:
            return 4;  // float, int32 and every enumeration
    }
}

bool is_handle(cudnnBackendAttributeName_t name) {
    return name == CUDNN_ATTR_OPERATIONGRAPH_HANDLE || name == CUDNN_ATTR_EXECUTION_PLAN_HANDLE;
}

// The descriptors of the real library that stand behind `count` of ours.
std::vector<cudnnBackendDescriptor_t> real_ones(std::int64_t count, const void* ours) {
    std::vector<cudnnBackendDescriptor_t> real;
    const auto* const descriptors = static_cast<const cudnnBackendDescriptor_t*>(ours);
    for (std::int64_t i = 0; i < count; ++i) real.push_back(registry().find(descriptors[i]).real.raw());
    return real;
}

std::vector<cudnnBackendNumericalNote_t> notes_of_engine_in(const cuda::Descriptor& configuration) {
    const auto engines = configuration.get_descriptors(CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_BACKEND_ENGINE_DESCRIPTOR, 1);
    return engines.at(0).get_array<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE);
}

// What `description` learns from a part that was set in it.
void learn(Description& description, const Entry& part) {
    if (part.description->type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR)
        description.graph = part.description;
    else if (part.description->graph != nullptr)
        description.graph = part.description->graph;
    if (description.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR && part.description->type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
        description.notes = notes_of_engine_in(part.real);
}

// Our handles say nothing to the real library: who was given one, itself or with its graph, is asked about the described GPU.
void describe_device(Entry& entry) {
    struct Named {
        cudnnBackendDescriptorType_t type;
        cudnnBackendAttributeName_t properties;
    };
    const Description& description = *entry.description;
    const bool has_handle = description.attributes.contains(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) ||
                            (description.graph != nullptr && description.graph->attributes.contains(CUDNN_ATTR_OPERATIONGRAPH_HANDLE));
    for (const Named& named : {Named{CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP},
                               Named{CUDNN_BACKEND_ENGINE_DESCRIPTOR, CUDNN_ATTR_ENGINE_DEVICEPROP},
                               Named{CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP}})
        if (description.type == named.type && has_handle && !description.attributes.contains(named.properties))
            entry.real.set_descriptor(named.properties, described_h100());
}

}  // namespace

std::shared_ptr<const Description> description_of(cudnnBackendDescriptor_t descriptor) {
    const std::lock_guard lock(registry().mutex);
    return registry().find(descriptor).description;
}

}  // namespace mlkd::simulated

using namespace mlkd;
using namespace mlkd::simulated;

extern "C" cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t* descriptor) {
    return with_refusals([&] {
        const std::lock_guard lock(registry().mutex);
        cuda::Descriptor real(real_cudnn(), type);
        auto description = std::make_shared<Description>();
        description->type = type;
        *descriptor = description.get();
        registry().entries.emplace(*descriptor, Entry{std::move(description), std::move(real)});
        return CUDNN_STATUS_SUCCESS;
    });
}

extern "C" cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t descriptor) {
    return with_refusals([&] {
        const std::lock_guard lock(registry().mutex);
        registry().find(descriptor);
        registry().entries.erase(descriptor);
        return CUDNN_STATUS_SUCCESS;
    });
}

extern "C" cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                                  cudnnBackendAttributeType_t type, int64_t count, const void* values) {
    return with_refusals([&] {
        const std::lock_guard lock(registry().mutex);
        Entry& entry = registry().find(descriptor);
        const bool holds_parts = type == CUDNN_TYPE_BACKEND_DESCRIPTOR;
        if (is_handle(name)) {
            if (entry.description->finalized) throw Refusal(CUDNN_STATUS_BAD_PARAM, "a finalized descriptor cannot be changed");
        } else {
            const std::vector<cudnnBackendDescriptor_t> real =
                holds_parts ? real_ones(count, values) : std::vector<cudnnBackendDescriptor_t>{};
            const cudnnStatus_t status =
                real_cudnn().set_attribute(entry.real.raw(), name, type, count, holds_parts ? real.data() : values);
            if (status != CUDNN_STATUS_SUCCESS) return status;
        }
        Attribute attribute{.type = type, .count = count, .values = {}, .parts = {}};
        attribute.values.resize(static_cast<std::size_t>(count) * size_of(type));
        if (count > 0) std::memcpy(attribute.values.data(), values, attribute.values.size());
        for (std::int64_t i = 0; holds_parts && i < count; ++i) {
            const Entry& part = registry().find(static_cast<const cudnnBackendDescriptor_t*>(values)[i]);
            attribute.parts.push_back(part.description);
            learn(*entry.description, part);
        }
        entry.description->attributes[name] = std::move(attribute);
        return CUDNN_STATUS_SUCCESS;
    });
}

extern "C" cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t descriptor, cudnnBackendAttributeName_t name,
                                                  cudnnBackendAttributeType_t type, int64_t room, int64_t* count, void* values) {
    return with_refusals([&] {
        const std::lock_guard lock(registry().mutex);
        const Entry& entry = registry().find(descriptor);
        if (type != CUDNN_TYPE_BACKEND_DESCRIPTOR || room == 0)
            return real_cudnn().get_attribute(entry.real.raw(), name, type, room, count, values);
        std::vector<cudnnBackendDescriptor_t> real = real_ones(room, values);
        std::int64_t got = 0;
        const cudnnStatus_t status = real_cudnn().get_attribute(entry.real.raw(), name, type, room, &got, real.data());
        if (status != CUDNN_STATUS_SUCCESS) return status;
        if (count != nullptr) *count = got;
        for (std::int64_t i = 0; i < got && i < room; ++i) {
            Description& part = *registry().find(static_cast<const cudnnBackendDescriptor_t*>(values)[i]).description;
            part.graph = entry.description->graph;
            part.finalized = true;  // the real library hands out finalized ones
        }
        return CUDNN_STATUS_SUCCESS;
    });
}

extern "C" cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor) {
    return with_refusals([&] {
        const std::lock_guard lock(registry().mutex);
        Entry& entry = registry().find(descriptor);
        describe_device(entry);
        const cudnnStatus_t status = entry.real.try_finalize();
        if (status != CUDNN_STATUS_SUCCESS) return status;
        Description& description = *entry.description;
        description.finalized = true;
        if (description.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR)
            description.workspace_bytes = entry.real.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
        return CUDNN_STATUS_SUCCESS;
    });
}
