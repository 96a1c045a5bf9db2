#pragma once
// Kernels on the simulated device: what engine/kernels/launch.h calls in place of <<<>>>. A kernel is copied at the launch, its operands are
// looked for among its words, and its teams run later (teams.h).
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <typeinfo>
#include <utility>
#include <vector>

#include "tests/simulated_gpu/device.h"
#include "tests/simulated_gpu/teams.h"

namespace mlkd::simulated {

struct LaunchSize {
    std::int64_t blocks;
    int threads;
    std::size_t shared_bytes;  // dynamic
};

// What a GPU says to a launch of this size; cudaSuccess where it can run.
cudaError_t launch_obstacle(const void* function, const LaunchSize& size);

// The words of a kernel's arguments that are addresses in device memory. Fault: one in memory of the host, or in device memory that
// is no live allocation.
std::vector<const void*> operands(const char* kernel, const void* arguments, std::size_t bytes);

template <class Kernel>
std::vector<const void*> operands_of(const char* name, Kernel kernel) {
#if defined(__GNUC__) && !defined(__clang__)
    __builtin_clear_padding(&kernel);  // whatever the stack held there before may look like an address
#endif
    return operands(name, &kernel, sizeof kernel);
}

// Keeps the status for cudaGetLastError.
cudaError_t noted(cudaError_t status);

// `function` tells kernels apart. kernel(team, row) for all rows.
template <class Kernel>
void launch_rows(const void* function, const LaunchSize& size, cudaStream_t stream, const Kernel& kernel, std::int64_t rows) {
    if (noted(launch_obstacle(function, size)) != cudaSuccess) return;
    const char* const name = typeid(Kernel).name();
    enqueue(stream, name, operands_of(name, kernel), [kernel, rows, size] {
        run_rows({rows, size.threads, size.shared_bytes}, [&](const Team& team, std::int64_t row) { kernel(team, row); });
    });
}

// kernel(i) for all indices, block by block; which block comes first is nobody's promise: here it is the last one.
template <class Kernel>
void launch_indices(const void* function, const LaunchSize& size, cudaStream_t stream, const Kernel& kernel, std::int64_t count) {
    if (noted(launch_obstacle(function, size)) != cudaSuccess) return;
    const char* const name = typeid(Kernel).name();
    enqueue(stream, name, operands_of(name, kernel), [kernel, count, threads = std::int64_t{size.threads}] {
        const std::int64_t blocks = (count + threads - 1) / threads;
#pragma omp parallel for schedule(static) if (blocks > 16)
        for (std::int64_t block = blocks - 1; block >= 0; --block) {
            const std::int64_t end = (block + 1) * threads < count ? (block + 1) * threads : count;
            for (std::int64_t i = block * threads; i < end; ++i) kernel(i);
        }
    });
}

}  // namespace mlkd::simulated
