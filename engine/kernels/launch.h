#pragma once
// The one launcher of our own kernels, and the only file with <<<>>>.
//
//     for_each_row(stream, rows, kernel, {.scratch_bytes = n});    // kernel(team, row): a team works on a row
//     for_each_index(stream, count, kernel);                       // kernel(i): element-wise work
//
// A kernel is a small trivially copyable struct of pointers and sizes. On a CPU rows and indices are shared out among
// OpenMP threads; on a GPU a row is a thread block. Launches on a GPU stream return at once.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/error.h"
#include "engine/kernels/device_code.h"
#include "engine/kernels/team.h"
#include "engine/tensor.h"
#ifdef MLKD_SIMULATED_GPU
#include "tests/simulated_gpu/launch.h"
#endif

namespace mlkd {

#ifdef MLKD_TEST_LAUNCHES
namespace test {
struct Launches;
}
#endif

// Where kernels run: a device and, on a GPU, a cudaStream_t.
struct Stream {
    DeviceKind device = DeviceKind::cpu;
    void* handle = nullptr;
#ifdef MLKD_TEST_LAUNCHES
    bool teams = false;                        // whether a row has many members although this is no GPU
    const test::Launches* launches = nullptr;  // how they are launched instead: tests/support/launches.h
#endif
};

struct RowLaunch {
    std::size_t scratch_bytes = 0;  // shared by the members of a row
    int team_size = 128;            // threads of a row on a GPU; a multiple of 32
};

}  // namespace mlkd

#ifdef MLKD_TEST_LAUNCHES
#include "tests/support/launches.h"
#endif

namespace mlkd {

// Whether a row is worked on by many members, as on a GPU, or by one thread.
inline bool has_teams(const Stream& stream) {
#ifdef MLKD_TEST_LAUNCHES
    if (stream.teams) return true;
#endif
    return stream.device == DeviceKind::cuda;
}

#ifdef __CUDACC__

// A warp as a part of a team.
class WarpTeam {
public:
    __device__ int rank() const { return static_cast<int>(threadIdx.x % 32); }
    __device__ static constexpr int size() { return 32; }
    __device__ void sync() const { __syncwarp(); }
    template <class T> __device__ T sum(T value) const {
        for (int offset = 16; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
        return value;
    }
    template <class T> __device__ T max(T value) const {
        for (int offset = 16; offset > 0; offset /= 2) {
            const T other = __shfl_xor_sync(0xffffffffu, value, offset);
            value = value < other ? other : value;
        }
        return value;
    }
};

// A thread block as a team: reductions go through warp shuffles and one value a warp, in fixed order.
class BlockTeam {
public:
    __device__ int rank() const { return static_cast<int>(threadIdx.x); }
    __device__ int size() const { return static_cast<int>(blockDim.x); }
    __device__ void sync() const { __syncthreads(); }
    template <class T> __device__ T sum(T value) const {
        return reduce(value, [](T a, T b) { return a + b; });
    }
    template <class T> __device__ T max(T value) const {
        return reduce(value, [](T a, T b) { return a < b ? b : a; });
    }
    template <class T> __device__ T* scratch() const {
        extern __shared__ __align__(16) unsigned char row_scratch[];
        return reinterpret_cast<T*>(row_scratch);
    }
    __device__ static WarpTeam part() { return {}; }
    __device__ int part_index() const { return static_cast<int>(threadIdx.x / 32); }
    __device__ int part_count() const { return static_cast<int>(blockDim.x / 32); }

private:
    template <class T, class Combine> __device__ T reduce(T value, Combine combine) const {
        __shared__ T per_warp[32];
        for (int offset = 16; offset > 0; offset /= 2) value = combine(value, __shfl_xor_sync(0xffffffffu, value, offset));
        if (threadIdx.x % 32 == 0) per_warp[threadIdx.x / 32] = value;
        __syncthreads();
        T total = per_warp[0];
        for (unsigned warp = 1; warp < blockDim.x / 32; ++warp) total = combine(total, per_warp[warp]);
        __syncthreads();  // per_warp is free again
        return total;
    }
};

template <class Kernel> __global__ void row_kernel(const Kernel kernel, std::int64_t rows) {
    const BlockTeam team;
    for (std::int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
        kernel(team, row);
        __syncthreads();
    }
}

template <class Kernel> __global__ void index_kernel(const Kernel kernel, std::int64_t count) {
    const std::int64_t stride = static_cast<std::int64_t>(gridDim.x) * blockDim.x;
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += stride) kernel(i);
}

template <class Kernel>
void launch_row_kernel(unsigned blocks, int team_size, std::size_t scratch_bytes, cudaStream_t stream, const Kernel& kernel,
                       std::int64_t rows) {
    row_kernel<<<blocks, static_cast<unsigned>(team_size), scratch_bytes, stream>>>(kernel, rows);
}
template <class Kernel>
void launch_index_kernel(unsigned blocks, int block, cudaStream_t stream, const Kernel& kernel, std::int64_t count) {
    index_kernel<<<blocks, static_cast<unsigned>(block), 0, stream>>>(kernel, count);
}

#endif
#ifdef MLKD_SIMULATED_GPU

// Their addresses are the kernels' names.
template <class Kernel>
void row_kernel(const Kernel&, std::int64_t) {}
template <class Kernel>
void index_kernel(const Kernel&, std::int64_t) {}

template <class Kernel>
void launch_row_kernel(unsigned blocks, int team_size, std::size_t scratch_bytes, cudaStream_t stream, const Kernel& kernel,
                       std::int64_t rows) {
    simulated::launch_rows(reinterpret_cast<const void*>(row_kernel<Kernel>), {blocks, team_size, scratch_bytes}, stream, kernel, rows);
}
template <class Kernel>
void launch_index_kernel(unsigned blocks, int block, cudaStream_t stream, const Kernel& kernel, std::int64_t count) {
    simulated::launch_indices(reinterpret_cast<const void*>(index_kernel<Kernel>), {blocks, block, 0}, stream, kernel, count);
}

#endif
#if defined(__CUDACC__) || defined(MLKD_SIMULATED_GPU)

inline void check_launch(cudaError_t status) {
    if (status != cudaSuccess) throw Error(std::string("CUDA kernel launch: ") + cudaGetErrorString(status));
}

// Lets a kernel take all shared memory that a block of the current GPU can have: 48 KiB come without asking, and what the kernel
// declares itself (static) counts towards either limit. Returns the bytes that are left for scratch.
inline std::size_t allow_shared_memory(const void* kernel) {
    int device = 0, most = 0;
    cudaFuncAttributes attributes{};
    check_launch(cudaGetDevice(&device));
    check_launch(cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, device));
    check_launch(cudaFuncGetAttributes(&attributes, kernel));
    const int left = most - static_cast<int>(attributes.sharedSizeBytes);
    check_launch(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, left));
    return static_cast<std::size_t>(left);
}

#endif

template <class Kernel>
void for_each_row(const Stream& stream, std::int64_t rows, const Kernel& kernel, const RowLaunch& launch = {}) {
    if (rows == 0) return;
#ifdef MLKD_TEST_LAUNCHES
    if (test::take_rows(stream, rows, kernel, launch)) return;
#endif
    if (stream.device == DeviceKind::cpu) {
#pragma omp parallel if (rows > 1)
        {
            std::vector<double> scratch((launch.scratch_bytes + sizeof(double) - 1) / sizeof(double) + 1);
            const SerialTeam team(reinterpret_cast<unsigned char*>(scratch.data()));
#pragma omp for schedule(static)
            for (std::int64_t row = 0; row < rows; ++row) kernel(team, row);
        }
        return;
    }
#if defined(__CUDACC__) || defined(MLKD_SIMULATED_GPU)
    const auto grid = static_cast<unsigned>(rows < 65535 * 16 ? rows : 65535 * 16);
    if (launch.scratch_bytes > 0) {
        // Once a kernel, at its first launch: a process uses one GPU.
        static const std::size_t most = allow_shared_memory(reinterpret_cast<const void*>(row_kernel<Kernel>));
        if (launch.scratch_bytes > most)
            throw Error("a kernel asks for " + std::to_string(launch.scratch_bytes) + " bytes of shared memory; this GPU has " +
                        std::to_string(most) + " for it");
    }
    launch_row_kernel(grid, launch.team_size, launch.scratch_bytes, static_cast<cudaStream_t>(stream.handle), kernel, rows);
    check_launch(cudaGetLastError());
#else
    throw Error("this build has no CUDA: its kernels run on --device cpu only");
#endif
}

template <class Kernel> void for_each_index(const Stream& stream, std::int64_t count, const Kernel& kernel) {
    if (count == 0) return;
#ifdef MLKD_TEST_LAUNCHES
    if (test::take_indices(stream, count, kernel)) return;
#endif
    if (stream.device == DeviceKind::cpu) {
#pragma omp parallel for simd schedule(static) if (parallel : count > 4096)
        for (std::int64_t i = 0; i < count; ++i) kernel(i);
        return;
    }
#if defined(__CUDACC__) || defined(MLKD_SIMULATED_GPU)
    constexpr int block = 256;
    const std::int64_t blocks = (count + block - 1) / block;
    const auto grid = static_cast<unsigned>(blocks < 132 * 16 ? blocks : 132 * 16);  // a few waves; the loop takes the rest
    launch_index_kernel(grid, block, static_cast<cudaStream_t>(stream.handle), kernel, count);
    check_launch(cudaGetLastError());
#else
    throw Error("this build has no CUDA: its kernels run on --device cpu only");
#endif
}

}  // namespace mlkd
