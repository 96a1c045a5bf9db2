#pragma once
// Writes down which convolutions a network asks for, and computes none. Memory and matrix products are the CPU's.
#include <memory>
#include <set>
#include <string>

#include "engine/vendor_calls.h"

namespace mlkd::test {

class ConvolutionRecorder final : public Backend {
public:
    Stream stream() const override { return cpu_->stream(); }
    std::string description() const override { return "recorder of convolutions"; }
    int threads() const override { return cpu_->threads(); }
    void* allocate(std::size_t bytes) override { return cpu_->allocate(bytes); }
    void free(void* memory) noexcept override { cpu_->free(memory); }
    void copy_to_host(void* host, const void* device, std::size_t bytes) override { cpu_->copy_to_host(host, device, bytes); }
    void copy_from_host(void* device, const void* host, std::size_t bytes) override { cpu_->copy_from_host(device, host, bytes); }
    void fill_zero(void* memory, std::size_t bytes) override { cpu_->fill_zero(memory, bytes); }
    void synchronize() override {}
    void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                float beta) override {
        cpu_->matmul(c, a, transpose_a, b, transpose_b, alpha, beta);
    }

    void convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                             const Epilogue& epilogue) override {
        calls.insert(convolution_call(Direction::forward, y, x, w, convolution, epilogue));
    }
    void convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                   bool accumulate) override {
        calls.insert(convolution_call(Direction::backward_data, dL_dy, dL_dx, w, convolution, {}, accumulate));
    }
    void convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) override {
        calls.insert(convolution_call(Direction::backward_filter, dL_dy, x, dL_dw, convolution));
    }

    std::set<ConvolutionCall> calls;

private:
    std::unique_ptr<Backend> cpu_ = make_cpu_backend();
};

}  // namespace mlkd::test
