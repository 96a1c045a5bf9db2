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
    std::string precision = "auto";    // fp32 | tf32, on a GPU alone | bf16 | auto: tf32 on a GPU, fp32 on a CPU
    std::string products = "fp32";     // fp32 | tf32: of a GPU's matrix products, which are the losses'
    bool nondeterministic = false;     // see CudaOptions
    // Convolutions by fixed rules: oneDNN's direct algorithm, or the first of cuDNN's proposals that runs. Nothing is timed and
    // no plan file is read or written, so that the bits depend on the machine, the libraries and the threads alone.
    bool deterministic = false;
};

// Throws UsageError for an unknown device or precision, tf32 on a CPU, and `deterministic` with `nondeterministic`; Error with
// the reason when a demanded GPU is not usable, or the CPU cannot compute in bf16. Where `auto` falls back on the CPU, a line on
// standard error says why a GPU that is there was not taken, and another one that tf32 becomes fp32.
std::unique_ptr<Backend> make_backend(const DeviceOptions& options);

// The precision that `precision` means on a backend that make_backend made with it: fp32, tf32 or bf16.
std::string resolved_precision(const std::string& precision, const Backend& backend);
// The type that networks take under a precision: bf16, or f32.
DType network_type(const std::string& precision);

}  // namespace mlkd
