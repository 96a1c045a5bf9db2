#pragma once
// A GPU that need not be there: cuDNN plans for one that is described to it. The figures are an H100 SXM's, from public
// specifications. Such plans prove that cuDNN supports something; they cannot run.
#include <span>
#include <string_view>

#include "engine/cuda/convolution_graph.h"

namespace mlkd::test {

inline constexpr std::string_view h100 =
    R"({"cudaDeviceId":0,"deviceName":"NVIDIA H100 80GB HBM3","deviceVer":900,"driverVer":13000,"isTccDriver":0,"l2CacheSize":52428800,)"
    R"("maxCtasPerSM":32,"maxRegistersPerSM":65536,"maxSharedMemoryPerBlock":49152,"maxSharedMemoryPerBlockOptin":232448,)"
    R"("maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,"memClockRateKHz":2619000,"multiProcessorCount":132,"pciDeviceId":9008,)"
    R"("regsPerBlock":65536,"reservedSharedMemoryPerBlock":1024,"smClockRateKHz":1980000,"supportCoopLaunch":1,)"
    R"("totalGlobalMem":85029158912,"warpSize":32,"maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64]})";

struct DescribedGpu {
    cuda::Cudnn cudnn = cuda::load_cudnn();
    cuda::Descriptor properties{cudnn, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR};
    cuda::PlanTarget target{cudnn, nullptr, &properties};

    DescribedGpu() {
        properties.set_array<char>(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, h100);
        properties.finalize("properties of a GPU");
    }
    DescribedGpu(const DescribedGpu&) = delete;
};

}  // namespace mlkd::test
