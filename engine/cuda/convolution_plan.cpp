#include "engine/cuda/convolution_plan.h"

#include <utility>
#include <vector>

namespace mlkd::cuda {

std::unique_ptr<ConvolutionPlan> ConvolutionPlan::make(const ConvolutionGraph& graph, const EngineChoice& choice, std::string& why) {
    const PlanTarget& target = graph.target();
    std::optional<Descriptor> configuration = engine_configuration(graph, choice, why);
    if (!configuration) return nullptr;
    Descriptor plan(target.cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set_descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, *configuration);
    if (target.handle != nullptr)
        plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, target.handle);
    else
        plan.set_descriptor(CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, *target.properties);
    if (const cudnnStatus_t status = plan.try_finalize(); status != CUDNN_STATUS_SUCCESS) {
        why = target.cudnn.reason(status);
        return nullptr;
    }
    return std::unique_ptr<ConvolutionPlan>(new ConvolutionPlan(target.cudnn, choice, std::move(*configuration), std::move(plan)));
}

ConvolutionPlan::ConvolutionPlan(const Cudnn& cudnn, EngineChoice choice, Descriptor configuration, Descriptor plan)
    : cudnn_(cudnn),
      choice_(std::move(choice)),
      configuration_(std::move(configuration)),
      plan_(std::move(plan)),
      workspace_bytes_(static_cast<std::size_t>(plan_.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE))) {}

void ConvolutionPlan::execute(cudnnHandle_t handle, const ConvolutionOperands& operands, void* workspace) const {
    std::vector<std::int64_t> ids{id_x, id_w, id_y};
    std::vector<void*> addresses{operands.x, operands.w, operands.y};
    const auto add_optional = [&](std::int64_t id, void* address) {
        if (address == nullptr) return;
        ids.push_back(id);
        addresses.push_back(address);
    };
    add_optional(id_bias, operands.bias);
    add_optional(id_residual, operands.residual);
    Descriptor pack(cudnn_, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set_array<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
    pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses);
    pack.set_pointer(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace);
    pack.finalize("operands");
    cudnn_.check(cudnn_.execute(handle, plan_.raw(), pack.raw()), "running " + choice_.text());
}

}  // namespace mlkd::cuda
