#pragma once
// What a vendor library does best, and memory: the narrow waist between the engine and oneDNN (engine/cpu) or
// cuDNN + cuBLAS (engine/cuda). Everything else is our own kernels through launch.h.
// Tensors are dense; activations (N, H, W, C), filters (K, R, S, C). Outputs come first. Calls are asynchronous on a
// GPU stream. Shapes that do not fit together, and types that differ, throw Error.
#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "engine/kernels/launch.h"
#include "engine/tensor.h"

namespace mlkd {

// A two-dimensional convolution with equal stride and zero padding on both axes (cross-correlation, as in every
// deep-learning library).
struct Convolution {
    int stride = 1;
    int padding = 1;
};

// What is done to a convolution's result before it is stored: y = relu(conv + bias + residual). Used by networks in
// evaluation mode, whose batch norms are folded into their filters.
struct Epilogue {
    Tensor bias;      // (K), or empty
    Tensor residual;  // shape of y, or empty
    bool relu = false;
};

enum class Transpose : bool { no = false, yes = true };

// Work on a device that was recorded once and is started as a whole each time: a CUDA graph.
class Recording {
public:
    virtual ~Recording() = default;
    virtual void replay() = 0;         // enqueues it on the backend's stream
    virtual int kernels() const = 0;   // that a replay runs
    virtual int others() const = 0;    // memory operations that it runs beside them
};

class Backend {
public:
    virtual ~Backend() = default;

    virtual Stream stream() const = 0;
    virtual std::string description() const = 0;  // "AMD EPYC, 2 threads, oneDNN 2.6.3"
    virtual int threads() const = 0;              // host threads that kernels run on; 0 on a GPU

    // --- memory
    virtual void* allocate(std::size_t bytes) = 0;  // zeroed, 64-byte aligned; throws Error when there is none left
    virtual void free(void* memory) noexcept = 0;
    virtual void copy_to_host(void* host, const void* device, std::size_t bytes) = 0;    // synchronous
    virtual void copy_from_host(void* device, const void* host, std::size_t bytes) = 0;  // synchronous
    virtual void fill_zero(void* memory, std::size_t bytes) = 0;
    virtual void synchronize() = 0;

    // Records what `work` enqueues, without running it: the kernels with their arguments and addresses as they are now. `work`
    // must not allocate, copy to or from the host, or wait: whatever it needs exists because it has run once before. nullptr,
    // without calling `work`, where the device has no such thing (a CPU).
    virtual std::unique_ptr<Recording> record(const std::function<void()>& work);

    // --- a second branch of work beside this one, on devices that can run two at once (a GPU: another stream, with handles and workspaces
    // of its own). Elsewhere side() is this backend itself. Memory belongs to both.
    virtual Backend& side() { return *this; }
    virtual void fork() {}  // what is enqueued on side() from now on waits for all that was enqueued here
    virtual void join() {}  // what is enqueued here from now on waits for all that was enqueued on side(); ends every fork

    // --- convolution: x (N, H, W, C), w (K, R, S, C), y (N, P, Q, K); all f32, f64 or bf16, which sums in float32
    virtual void convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                                     const Epilogue& epilogue = {}) = 0;
    // accumulate: dL_dx += …; else what dL_dx held is not read.
    virtual void convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                           bool accumulate = false) = 0;
    virtual void convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy,
                                             const Convolution& convolution) = 0;

    // --- matrix product in f32 or f64, row-major: c = alpha · op(a) · op(b) + beta · c, for one matrix or a batch of them.
    // a (M, K) or (batch, M, K), b (K, N) or (batch, K, N), c (M, N) or (batch, M, N); shapes before op().
    virtual void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b,
                        float alpha = 1.0f, float beta = 0.0f) = 0;
};

// The extents of a convolution's result: (N, P, Q, K). Throws when x and w do not fit.
Shape convolution_output_shape(const Shape& x, const Shape& w, const Convolution& convolution);

struct CpuOptions {
    int threads = 0;                      // 0: OMP_NUM_THREADS, else all cores
    std::string convolution = "auto";     // auto (times each shape once) | direct | winograd
    std::string plan_file;                // remembers the timed choices, so that a rerun repeats bit for bit; "" for none
};
std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options = {});
// Why this processor cannot convolve in bfloat16, and what to do, in one line; "" where it can.
std::string cpu_bfloat16_obstacle();

// How a GPU multiplies float32 numbers: fused multiply-adds in float32, or tensor cores after rounding both factors to TF32
// (10 bits of mantissa; sums stay in float32).
enum class MathMode { fp32, tf32 };

struct CudaOptions {
    int ordinal = 0;  // which GPU, as CUDA counts them
    MathMode convolutions = MathMode::tf32;
    // Losses are computed in float32 whatever the network's precision, and so are their products.
    MathMode matrix_products = MathMode::fp32;
    bool nondeterministic = false;  // also engines whose sums change their order from run to run
    bool timed = true;              // the quickest of the engines that cuDNN proposes; else the first one that runs
    std::string plan_file;          // as for the CPU
};
// nullptr with the reason in `why` when this build or this machine has no usable GPU, or the plan file is none.
std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options, std::string& why);

}  // namespace mlkd
