#pragma once
// Why a machine has no GPU for this program, in one line each.
#include <cuda_runtime_api.h>

#include <string>

namespace mlkd::cuda {

struct DriverState {
    int driver = 0;   // the newest CUDA that the driver serves, 1000 · major + 10 · minor; 0: no driver
    int runtime = 0;  // the CUDA that this program was compiled with
    cudaError_t status = cudaSuccess;  // of counting the GPUs
    int count = 0;
};
DriverState driver_state();

// "" when GPU `ordinal` can be tried.
std::string driver_obstacle(const DriverState& state, int ordinal);

// "" when the kernels of this program run on the current GPU: they are compiled for it, or can be at run time.
std::string kernel_obstacle(const cudaDeviceProp& gpu);

// Asks for the attributes of a kernel: fails where the program holds no code for the current GPU.
cudaError_t kernel_image_status();

std::string cuda_version_text(int version);  // 13000: "13.0"

}  // namespace mlkd::cuda
