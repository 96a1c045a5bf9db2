#include "engine/cuda/backend.h"

#include <fmt/format.h>

#include "engine/cuda/device_probe.h"
#include "engine/cuda/graph.h"
#include "engine/cuda/reference_convolution.h"
#include "engine/error.h"

namespace mlkd {
namespace cuda {
namespace {

std::unique_ptr<cudnnContext, decltype(Cudnn::destroy)> make_handle(const Cudnn& cudnn, cudaStream_t stream) {
    cudnnHandle_t handle = nullptr;
    cudnn.check(cudnn.create(&handle), "starting");
    std::unique_ptr<cudnnContext, decltype(Cudnn::destroy)> owner(handle, cudnn.destroy);
    cudnn.check(cudnn.set_stream(handle, stream), "setting the stream");
    return owner;
}

// Times and bits depend on all of it: the machine of a plan file.
std::string machine(const cudaDeviceProp& gpu, const Cudnn& cudnn) {
    return fmt::format("{}, {} multiprocessors, cuDNN {}", gpu.name, gpu.multiProcessorCount, cudnn.version());
}

}  // namespace

std::string plan_machine(const cudaDeviceProp& gpu) { return machine(gpu, load_cudnn()); }

CudaBackend::CudaBackend(const CudaOptions& options, const cudaDeviceProp& gpu, std::shared_ptr<PlanFile> plan_file)
    : options_(options),
      gpu_(gpu),
      plan_file_(std::move(plan_file)),
      cudnn_(load_cudnn()),
      cublas_(load_cublas()),
      description_(fmt::format("{}, CUDA {}, cuBLAS {}", machine(gpu, cudnn_), cuda_version_text(CUDART_VERSION), cublas_.version())),
      stream_(make_stream()),
      handle_(make_handle(cudnn_, stream_.get())),
      convolutions_({cudnn_, handle_.get()}, stream_.get(),
                    {options.convolutions == MathMode::tf32, options.nondeterministic, options.timed},
                    plan_file_),
      matmuls_(cublas_, stream_.get(), options.matrix_products),
      forked_(make_event()),
      joined_(make_event()) {}

CudaBackend::~CudaBackend() { cudaStreamSynchronize(stream_.get()); }

void* CudaBackend::allocate(std::size_t bytes) { return allocate_device_memory(bytes, stream_.get()).release(); }

void CudaBackend::free(void* memory) noexcept { cudaFree(memory); }

void CudaBackend::copy_to_host(void* host, const void* device, std::size_t bytes) {
    if (bytes == 0) return;
    check_cuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost, stream_.get()), "copying to the host");
    synchronize();
}

void CudaBackend::copy_from_host(void* device, const void* host, std::size_t bytes) {
    if (bytes == 0) return;
    check_cuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice, stream_.get()), "copying from the host");
    synchronize();
}

void CudaBackend::fill_zero(void* memory, std::size_t bytes) {
    if (bytes > 0) check_cuda(cudaMemsetAsync(memory, 0, bytes, stream_.get()), "zeroing memory");
}

void CudaBackend::synchronize() { check_cuda(cudaStreamSynchronize(stream_.get()), "waiting for the GPU"); }

std::unique_ptr<Recording> CudaBackend::record(const std::function<void()>& work) {
    return std::make_unique<Graph>(stream_.get(), work);
}

Backend& CudaBackend::side() {
    if (side_ == nullptr) side_ = std::make_unique<CudaBackend>(options_, gpu_, plan_file_);
    return *side_;
}

void CudaBackend::fork() {
    side();
    check_cuda(cudaEventRecord(forked_.get(), stream_.get()), "starting a second branch");
    check_cuda(cudaStreamWaitEvent(side_->stream_.get(), forked_.get(), 0), "starting a second branch");
}

void CudaBackend::join() {
    check_cuda(cudaEventRecord(joined_.get(), side_->stream_.get()), "joining two branches");
    check_cuda(cudaStreamWaitEvent(stream_.get(), joined_.get(), 0), "joining two branches");
}

void CudaBackend::run(const ConvolutionCall& call, const ConvolutionOperands& operands) {
    if (call.dtype == DType::f64) return reference_convolution(stream(), call, operands);
    convolutions_.run(call, operands);
}

void CudaBackend::convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                                      const Epilogue& epilogue) {
    run(convolution_call(Direction::forward, y, x, w, convolution, epilogue),
        {.x = x.data, .w = w.data, .y = y.data, .bias = epilogue.bias.data, .residual = epilogue.residual.data});
}

void CudaBackend::convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                            bool accumulate) {
    run(convolution_call(Direction::backward_data, dL_dy, dL_dx, w, convolution, {}, accumulate),
        {.x = dL_dx.data, .w = w.data, .y = dL_dy.data});
}

void CudaBackend::convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) {
    run(convolution_call(Direction::backward_filter, dL_dy, x, dL_dw, convolution), {.x = x.data, .w = dL_dw.data, .y = dL_dy.data});
}

void CudaBackend::matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                         float beta) {
    matmuls_.run(matmul_call(c, a, transpose_a, b, transpose_b, alpha, beta), c, a, b);
}

}  // namespace cuda

std::unique_ptr<Backend> make_cuda_backend(const CudaOptions& options, std::string& why) {
    why = cuda::driver_obstacle(cuda::driver_state(), options.ordinal);
    if (!why.empty()) return nullptr;
    try {
        cudaDeviceProp gpu{};
        cuda::check_cuda(cudaSetDevice(options.ordinal), fmt::format("opening GPU {}", options.ordinal));
        cuda::check_cuda(cudaGetDeviceProperties(&gpu, options.ordinal), fmt::format("looking at GPU {}", options.ordinal));
        why = cuda::kernel_obstacle(gpu);
        if (!why.empty()) return nullptr;
        auto plans = std::make_shared<PlanFile>(options.plan_file, cuda::plan_machine(gpu), cuda::is_engine_choice);
        return std::make_unique<cuda::CudaBackend>(options, gpu, std::move(plans));
    } catch (const Error& error) {
        why = error.what();
        return nullptr;
    }
}

}  // namespace mlkd
