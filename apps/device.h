#pragma once
// Which device a command runs on.
#include <memory>
#include <string>

#include "engine/backend.h"

namespace mlkd {

struct DeviceOptions {
    std::string device = "auto";       // cpu | cuda | auto: CUDA where it works, else the CPU
    int threads = 0;                   // CPU threads; 0: OMP_NUM_THREADS, else all cores
    std::string convolution = "auto";  // see CpuOptions
    std::string plan_file;             // see CpuOptions
};

// Throws UsageError for an unknown device, Error with the reason when a demanded GPU is not usable.
std::unique_ptr<Backend> make_backend(const DeviceOptions& options);

}  // namespace mlkd
