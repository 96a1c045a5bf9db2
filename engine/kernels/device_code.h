#pragma once
// The one place where the text of the program differs between a host compiler and nvcc.
// Together with launch.h (the only <<<>>>) it is the seam; no other file asks which compiler reads it.

#include <cstdint>
#include <cstring>
#include <thread>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#define MLKD_HD __host__ __device__
#else
#define MLKD_HD
#endif

// Before a loop of few turns over much code: nvcc leaves it a loop. It would make four copies and a fifth for the turns that are left;
// a multiprocessor fetches them for longer than they save, and lanes with one turn less than the others run the fifth alone.
#ifdef __CUDA_ARCH__
#define MLKD_ROLLED _Pragma("unroll 1")
#else
#define MLKD_ROLLED  // the host compiler of nvcc does not know the pragma
#endif

namespace mlkd {

#ifdef MLKD_SIMULATED_GPU
// The rows of a launch share one thread there: one that waits for a counter lets others go on (tests/simulated_gpu/teams.cpp).
// Returns at once on any other thread.
namespace simulated {
void wait_for_counter(const int* counter, int at_least);
}
#endif

// Adds `value` to a counter that threads of the whole device share, and returns what it was. Acquire and release: writes before
// this add are visible to a thread that reads the new value through this function or wait_until_at_least().
MLKD_HD inline int fetch_add(int* counter, int value) {
#ifdef __CUDA_ARCH__
    int before;
    const std::size_t address = __cvta_generic_to_global(counter);
    asm volatile("atom.acq_rel.gpu.global.add.s32 %0, [%1], %2;" : "=r"(before) : "l"(address), "r"(value) : "memory");
    return before;
#else
    return __atomic_fetch_add(counter, value, __ATOMIC_ACQ_REL);
#endif
}

// The same without acquire and release: only the number counts.
MLKD_HD inline int fetch_add_relaxed(int* counter, int value) {
#ifdef __CUDA_ARCH__
    return atomicAdd(counter, value);
#else
    return __atomic_fetch_add(counter, value, __ATOMIC_RELAXED);
#endif
}

// Returns once the counter is at least `value`. Acquire: writes before the adds by fetch_add() are visible afterwards.
MLKD_HD inline void wait_until_at_least(const int* counter, int value) {
#ifdef __CUDA_ARCH__
    int seen;
    do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(__cvta_generic_to_global(counter)) : "memory");
    while (seen < value);
#else
#ifdef MLKD_SIMULATED_GPU
    simulated::wait_for_counter(counter, value);
#endif
    while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value) std::this_thread::yield();
#endif
}

MLKD_HD inline float float_of_bits(std::uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

// The bits of the bfloat16 nearest to `value`; halves go to the even one, NaN stays NaN.
MLKD_HD inline std::uint16_t bfloat16_bits(float value) {
#ifdef __CUDA_ARCH__
    return __bfloat16_as_ushort(__float2bfloat16_rn(value));  // one instruction
#else
    std::uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    // Without a branch, so that loops of it vectorise.
    const std::uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16, quiet = bits >> 16 | 0x40;
    return static_cast<std::uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : rounded);
#endif
}

}  // namespace mlkd
