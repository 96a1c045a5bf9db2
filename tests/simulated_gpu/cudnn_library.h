#pragma once
// The simulated GPU's libcudnn: descriptors, heuristics, engines and plans are those of the real cuDNN, asked about an H100 that is only
// described to it (cudnn_descriptor.h); a plan is executed by evaluating its operation graph (cudnn_execution.cpp, cudnn_evaluation.h).
// Here: the real cuDNN, as far as it answers without a device, and the reasons for the simulation's own refusals.
#include <cudnn_graph.h>

#include <functional>
#include <string>

#include "engine/cuda/descriptor.h"
#include "engine/error.h"

namespace mlkd::simulated {

// Descriptors and errors. What needs a device (create, destroy, set_stream, execute) is nullptr. Throws Error where no cuDNN is installed.
const cuda::Cudnn& real_cudnn();

// The H100 that it plans for: CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR.
const cuda::Descriptor& described_h100();

// A refusal of the simulation: the status for the caller, the reason for the "last error".
class Refusal : public Error {
public:
    Refusal(cudnnStatus_t status, const std::string& message) : Error(message), status_(status) {}
    cudnnStatus_t status() const { return status_; }

private:
    cudnnStatus_t status_;
};

// The status of `call`, or that of the Refusal or other exception that it throws, whose message becomes the thread's last error.
cudnnStatus_t with_refusals(const std::function<cudnnStatus_t()>& call);

// The message of the thread's last refusal, which is forgotten; "" when the real library's is the last error.
std::string taken_refusal();

}  // namespace mlkd::simulated
