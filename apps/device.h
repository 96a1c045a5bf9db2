#pragma once
// Which device a command runs on.
#include <memory>
#include <string>

#include "engine/backend.h"

namespace mlkd {

struct DeviceOptions {
    std::string device = "auto";       // cpu | cuda | cuda:N | auto: CUDA where it works, else the CPU
    int threads = 0;                   // CPU threads; 0: OMP_NUM_THREADS, else all cores
    std::string convolution = "auto";  // see CpuOptions
    std::string plan_file;             // see CpuOptions
    std::string precision = "tf32";    // fp32 | tf32: of convolutions on a GPU; a CPU computes them in fp32
    bool nondeterministic = false;     // see CudaOptions
};

// Throws UsageError for an unknown device, Error with the reason when a demanded GPU is not usable.
std::unique_ptr<Backend> make_backend(const DeviceOptions& options);

}  // namespace mlkd
