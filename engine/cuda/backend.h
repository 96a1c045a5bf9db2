#pragma once
// The Backend of an NVIDIA GPU: cuDNN's graph API, cuBLAS, one stream of its own. One host thread at a time may use it.
// float64, the reference precision, is computed without tensor cores, and convolutions in it by plain loops.
#include <string>

#include "engine/backend.h"
#include "engine/cuda/convolution.h"
#include "engine/cuda/device_memory.h"
#include "engine/cuda/matmul.h"
#include "engine/cuda/vendor.h"

namespace mlkd::cuda {

class CudaBackend final : public Backend {
public:
    // `gpu` are the properties of the current device, which is options.ordinal.
    CudaBackend(const CudaOptions& options, const cudaDeviceProp& gpu, std::shared_ptr<PlanFile> plan_file);
    ~CudaBackend() override;

    Stream stream() const override { return Stream{DeviceKind::cuda, stream_.get()}; }
    std::string description() const override { return description_; }
    int threads() const override { return 0; }

    void* allocate(std::size_t bytes) override;
    void free(void* memory) noexcept override;
    void copy_to_host(void* host, const void* device, std::size_t bytes) override;
    void copy_from_host(void* device, const void* host, std::size_t bytes) override;
    void fill_zero(void* memory, std::size_t bytes) override;
    void synchronize() override;
    std::unique_ptr<Recording> record(const std::function<void()>& work) override;

    // A backend with a stream, handles and a workspace of its own. It is made when it is first asked for, which must not be in a recording.
    Backend& side() override;
    void fork() override;
    void join() override;

    void convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                             const Epilogue& epilogue) override;
    void convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                   bool accumulate) override;
    void convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) override;
    void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                float beta) override;

private:
    void run(const ConvolutionCall& call, const ConvolutionOperands& operands);

    CudaOptions options_;
    cudaDeviceProp gpu_;
    std::shared_ptr<PlanFile> plan_file_;
    Cudnn cudnn_;
    Cublas cublas_;
    std::string description_;
    StreamHandle stream_;
    std::unique_ptr<cudnnContext, decltype(Cudnn::destroy)> handle_;
    Convolutions convolutions_;
    Matmuls matmuls_;
    EventHandle forked_, joined_;
    std::unique_ptr<CudaBackend> side_;
};

// The machine that a plan file belongs to.
std::string plan_machine(const cudaDeviceProp& gpu);

}  // namespace mlkd::cuda
