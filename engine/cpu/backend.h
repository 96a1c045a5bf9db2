#pragma once
// The Backend of a CPU: oneDNN (tested with 2.6.3) and host memory. One thread at a time may use it: the one that made
// it, as that thread's OpenMP setting is the number of threads asked for.
#include <string>

#include "engine/backend.h"
#include "engine/cpu/convolution.h"
#include "engine/cpu/matmul.h"
#include "engine/cpu/onednn.h"

namespace mlkd::cpu {

class CpuBackend final : public Backend {
public:
    explicit CpuBackend(const CpuOptions& options);

    Stream stream() const override { return Stream{DeviceKind::cpu, nullptr}; }
    std::string description() const override { return description_; }
    int threads() const override;

    void* allocate(std::size_t bytes) override;
    void free(void* memory) noexcept override;
    void copy_to_host(void* host, const void* device, std::size_t bytes) override;
    void copy_from_host(void* device, const void* host, std::size_t bytes) override;
    void fill_zero(void* memory, std::size_t bytes) override;
    void synchronize() override {}

    void convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                             const Epilogue& epilogue) override;
    void convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                   bool accumulate) override;
    void convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) override;
    void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                float beta) override;

private:
    std::string description_;
    OneDnn onednn_;
    Convolutions convolutions_;
    Matmuls matmuls_;
};

}  // namespace mlkd::cpu
