// Handles and errors of the simulated cuDNN, and the execution of plans with the checks that a GPU leaves to the user.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <utility>

#include "tests/simulated_gpu/cudnn_library.h"
#include "tests/simulated_gpu/cudnn_operands.h"
#include "tests/simulated_gpu/device.h"

namespace mlkd::simulated {
namespace {

template <class T> std::vector<T> values_of(const Description& description, cudnnBackendAttributeName_t name) {
    const auto attribute = description.attributes.find(name);
    if (attribute == description.attributes.end()) return {};
    std::vector<T> values(static_cast<std::size_t>(attribute->second.count));
    if (attribute->second.values.size() != values.size() * sizeof(T))
        throw Refusal(CUDNN_STATUS_BAD_PARAM, fmt::format("attribute {} has another type", static_cast<int>(name)));
    if (!values.empty()) std::memcpy(values.data(), attribute->second.values.data(), values.size() * sizeof(T));
    return values;
}

Factors factors_of(const Description& plan) {
    const auto noted = [&](cudnnBackendNumericalNote_t note) {
        return std::find(plan.notes.begin(), plan.notes.end(), note) != plan.notes.end();
    };
    if (noted(CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION))
        throw Refusal(CUDNN_STATUS_NOT_SUPPORTED, "engines whose sums are coarser than float32 are not simulated");
    if (noted(CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS)) return Factors::bfloat16;
    return noted(CUDNN_NUMERICAL_NOTE_TENSOR_CORE) ? Factors::tf32 : Factors::exact;
}

// What a call executes: addresses of the graph's tensors, and the workspace.
struct Operands {
    std::map<std::int64_t, void*> addresses;
    Range workspace;
};

Operands operands_of(const OperationGraph& graph, const Description& plan, const Description& pack) {
    const auto ids = values_of<std::int64_t>(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    const auto pointers = values_of<void*>(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    const auto workspace = values_of<void*>(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    if (ids.size() != pointers.size()) throw Refusal(CUDNN_STATUS_BAD_PARAM, "as many tensors as addresses are needed");
    Operands operands{.addresses = {},
                      .workspace = {"the workspace", static_cast<std::byte*>(workspace.empty() ? nullptr : workspace.front()),
                                    static_cast<std::size_t>(plan.workspace_bytes)}};
    for (std::size_t i = 0; i < ids.size(); ++i) operands.addresses[ids[i]] = pointers[i];
    for (const auto& [id, tensor] : graph.tensors) {
        if (tensor.is_virtual) continue;
        if (const auto found = operands.addresses.find(id); found == operands.addresses.end() || found->second == nullptr)
            throw Refusal(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, fmt::format("tensor {} has no address", id));
    }
    if (operands.workspace.bytes > 0 && operands.workspace.start == nullptr)
        throw Refusal(CUDNN_STATUS_BAD_PARAM_NULL_POINTER, fmt::format("a workspace of {} bytes is missing", operands.workspace.bytes));
    return operands;
}

void check_memory(const OperationGraph& graph, const Operands& operands) {
    std::vector<Range> inputs, results;
    for (const auto& [id, tensor] : graph.tensors) {
        if (tensor.is_virtual) continue;
        const Range range{fmt::format("tensor {}", id), static_cast<std::byte*>(operands.addresses.at(id)), tensor.bytes()};
        require_device_memory(range, static_cast<std::size_t>(tensor.alignment));
        (graph.is_result(id) ? results : inputs).push_back(range);
    }
    if (operands.workspace.bytes > 0) {
        require_device_memory(operands.workspace, 1);
        results.push_back(operands.workspace);
    }
    require_apart(results, inputs);
}

// An engine may leave anything in its workspace: bytes that are NaNs in every type. A large one gets them at the start of every page.
void spoil(const Range& workspace) {
    constexpr std::size_t page = 4096, large = std::size_t{1} << 20;
    for (std::size_t offset = 0; offset < workspace.bytes; offset += page)
        std::memset(workspace.start + offset, 0xff, std::min(workspace.bytes > large ? 64 : page, workspace.bytes - offset));
}

cudnnStatus_t execute(cudnnHandle_t handle, const Description& plan, const Description& pack) {
    if (plan.type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR || !plan.finalized) throw Refusal(CUDNN_STATUS_BAD_PARAM, "no finalized plan");
    if (pack.type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR || !pack.finalized)
        throw Refusal(CUDNN_STATUS_BAD_PARAM, "no finalized variant pack");
    if (!plan.attributes.contains(CUDNN_ATTR_EXECUTION_PLAN_HANDLE))
        throw Refusal(CUDNN_STATUS_BAD_PARAM, "a plan without a handle cannot run");
    const auto graph = std::make_shared<const OperationGraph>(read_graph(*plan.graph));
    const Operands operands = operands_of(*graph, plan, pack);
    check_memory(*graph, operands);
    std::vector<const void*> uses{operands.workspace.bytes > 0 ? operands.workspace.start : nullptr};
    for (const auto& [id, tensor] : graph->tensors)
        if (!tensor.is_virtual) uses.push_back(operands.addresses.at(id));
    const Handle& context = handle_of(handle);
    const auto work = [graph, operands, factors = factors_of(plan), evaluator = context.evaluator] {
        spoil(operands.workspace);
        evaluator->run(*graph, operands.addresses, factors);
    };
    const cudaError_t error = enqueue(context.stream, "a plan of cuDNN", std::move(uses), work);
    if (error != cudaSuccess) throw Refusal(CUDNN_STATUS_EXECUTION_FAILED_CUDART, cudaGetErrorString(error));
    return CUDNN_STATUS_SUCCESS;
}

}  // namespace
}  // namespace mlkd::simulated

using namespace mlkd::simulated;

extern "C" size_t cudnnGetVersion() {
    std::size_t version = CUDNN_VERSION;  // without the real library cudnnCreate() says so
    with_refusals([&] {
        version = real_cudnn().get_version();
        return CUDNN_STATUS_SUCCESS;
    });
    return version;
}

extern "C" const char* cudnnGetErrorString(cudnnStatus_t status) {
    try {
        return real_cudnn().error_string(status);
    } catch (const mlkd::Error&) {
        return "the simulated cuDNN is without the real one";
    }
}

extern "C" void cudnnGetLastErrorString(char* message, size_t room) {
    if (room == 0) return;
    const std::string refusal = taken_refusal();
    if (refusal.empty()) {
        with_refusals([&] {
            real_cudnn().last_error_string(message, room);
            return CUDNN_STATUS_SUCCESS;
        });
        return;
    }
    const std::size_t length = std::min(refusal.size(), room - 1);
    std::memcpy(message, refusal.data(), length);
    message[length] = '\0';
}

extern "C" cudnnStatus_t cudnnCreate(cudnnHandle_t* handle) {
    return with_refusals([&] {
        described_h100();
        *handle = reinterpret_cast<cudnnHandle_t>(new Handle);
        return CUDNN_STATUS_SUCCESS;
    });
}

extern "C" cudnnStatus_t cudnnDestroy(cudnnHandle_t handle) {
    delete &handle_of(handle);
    return CUDNN_STATUS_SUCCESS;
}

extern "C" cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream) {
    handle_of(handle).stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

extern "C" cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan, cudnnBackendDescriptor_t pack) {
    return with_refusals([&] { return execute(handle, *description_of(plan), *description_of(pack)); });
}
