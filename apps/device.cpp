#include "apps/device.h"

#include <fmt/format.h>

#include "engine/error.h"

namespace mlkd {

std::unique_ptr<Backend> make_backend(const DeviceOptions& options) {
    if (options.threads < 0) throw UsageError(fmt::format("--threads {}: must be 0 (all cores) or more", options.threads));
    if (options.device != "cpu" && options.device != "cuda" && options.device != "auto")
        throw UsageError(fmt::format("unknown device '{}': cpu, cuda or auto", options.device));
    if (options.device != "cpu") {
        std::string why;
        if (auto backend = make_cuda_backend(why)) return backend;
        if (options.device == "cuda") throw Error(fmt::format("--device cuda: {}", why));
    }
    auto backend = make_cpu_backend({options.threads, options.convolution, options.plan_file});
    // Many more than there are cores are a slip of the pen, and OpenMP crashes where their stacks do not fit.
    constexpr int most_threads = 1024;
    if (backend->threads() > most_threads)
        throw UsageError(fmt::format("{} {}: at most {} threads", options.threads > 0 ? "--threads" : "OMP_NUM_THREADS", backend->threads(),
                                     most_threads));
    return backend;
}

}  // namespace mlkd
