#include "tests/simulated_gpu/launch.h"

#include <sys/mman.h>

#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "tests/simulated_gpu/limits.h"
#include "tests/simulated_gpu/memory.h"
#include "tests/simulated_gpu/streams.h"

namespace mlkd::simulated {
namespace {

// What a kernel declares itself is known to nvcc alone: as much as the hungriest one of ours.
constexpr int static_shared_memory = 640;

// Dynamic shared memory that kernels asked for and got.
std::map<const void*, std::size_t>& granted() {
    static auto* const bytes = new std::map<const void*, std::size_t>;
    return *bytes;
}

// Sizes are smaller and doubles larger than addresses; whatever lies between and is mapped is taken for one.
bool is_host_memory(std::uintptr_t word) {
    constexpr std::uintptr_t lowest = std::uintptr_t{1} << 32, highest = std::uintptr_t{1} << 47, page = 4096;
    if (word < lowest || word >= highest) return false;
    unsigned char resident = 0;
    return mincore(reinterpret_cast<void*>(word / page * page), 1, &resident) == 0;
}

}  // namespace

cudaError_t launch_obstacle(const void* function, const LaunchSize& size) {
    const std::lock_guard guard(runtime_lock());
    if (size.blocks < 1 || size.blocks > blocks_of_a_grid || size.threads < 1 || size.threads > threads_of_a_block)
        return cudaErrorInvalidConfiguration;
    if (size.threads % warp_size != 0) fault("a launch of " + std::to_string(size.threads) + " threads: warps would not be whole");
    const auto known = granted().find(function);
    const std::size_t most = known == granted().end() ? shared_memory - static_shared_memory : known->second;
    return size.shared_bytes > most ? cudaErrorInvalidValue : cudaSuccess;
}

std::vector<const void*> operands(const char* kernel, const void* arguments, std::size_t bytes) {
    const std::lock_guard guard(runtime_lock());
    std::vector<const void*> found;
    for (std::size_t at = 0; at + sizeof(std::uintptr_t) <= bytes; at += sizeof(std::uintptr_t)) {
        std::uintptr_t word = 0;
        std::memcpy(&word, static_cast<const std::byte*>(arguments) + at, sizeof word);
        const auto* const address = reinterpret_cast<const void*>(word);
        const auto refuse = [&](const std::string& why) {
            fault("byte " + std::to_string(at) + " of the arguments of " + plain_name(kernel) + " is an address of " + why);
        };
        if (in_device_range(address)) {
            if (!is_device_memory(address, 0)) refuse("device memory that was freed, or never allocated");
            found.push_back(address);
        } else if (is_host_memory(word)) {
            refuse("the host's memory");
        }
    }
    return found;
}

cudaError_t noted(cudaError_t status) { return returned(status); }

}  // namespace mlkd::simulated

using namespace mlkd::simulated;

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
    if (function == nullptr) return returned(cudaErrorInvalidDeviceFunction);
    *attributes = {};
    attributes->sharedSizeBytes = static_shared_memory;
    attributes->maxThreadsPerBlock = threads_of_a_block;
    attributes->maxDynamicSharedSizeBytes = shared_memory - static_shared_memory;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
    const std::lock_guard guard(runtime_lock());
    if (function == nullptr) return returned(cudaErrorInvalidDeviceFunction);
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 || value > shared_memory_at_most - static_shared_memory)
        return returned(cudaErrorInvalidValue);
    granted()[function] = static_cast<std::size_t>(value);
    return cudaSuccess;
}
