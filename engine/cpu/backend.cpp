#include "engine/cpu/backend.h"

#include <fmt/format.h>
#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "engine/cpu/reference_convolution.h"
#include "engine/cpu/reference_gemm.h"
#include "engine/error.h"

namespace mlkd {
namespace cpu {
namespace {

// "AMD EPYC", as the kernel names it.
std::string processor_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name"))
            if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
    return "unknown processor";
}

// 0: as many as OpenMP takes by itself (OMP_NUM_THREADS, else all cores).
void set_threads(int threads) {
    if (threads < 0) throw UsageError(fmt::format("threads: {} is impossible; 0 means all cores", threads));
    if (threads > 0) omp_set_num_threads(threads);
}

// What this machine is: times and bits depend on all of it.
std::string machine() {
    const int used = omp_get_max_threads();
    return fmt::format("{}, {} thread{}, oneDNN {} ({})", processor_name(), used, used == 1 ? "" : "s", onednn_version(),
                       instruction_set());
}

ConvolutionPolicy policy_named(const std::string& name) {
    if (name == "auto") return ConvolutionPolicy::automatic;
    if (name == "direct") return ConvolutionPolicy::direct;
    if (name == "winograd") return ConvolutionPolicy::winograd;
    throw UsageError(fmt::format("convolution: '{}' is none of auto, direct, winograd", name));
}

}  // namespace

CpuBackend::CpuBackend(const CpuOptions& options)
    : description_((set_threads(options.threads), machine())),
      convolutions_(onednn_, policy_named(options.convolution), PlanFile(options.plan_file, description_, is_convolution_method)),
      matmuls_(onednn_) {}

int CpuBackend::threads() const { return omp_get_max_threads(); }

void* CpuBackend::allocate(std::size_t bytes) {
    void* memory = allocate_host_memory(bytes);
    std::memset(memory, 0, bytes);
    return memory;
}

void CpuBackend::free(void* memory) noexcept { std::free(memory); }

void CpuBackend::copy_to_host(void* host, const void* device, std::size_t bytes) {
    if (bytes > 0) std::memcpy(host, device, bytes);
}

void CpuBackend::copy_from_host(void* device, const void* host, std::size_t bytes) {
    if (bytes > 0) std::memcpy(device, host, bytes);
}

void CpuBackend::fill_zero(void* memory, std::size_t bytes) {
    if (bytes > 0) std::memset(memory, 0, bytes);
}

void CpuBackend::convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                                     const Epilogue& epilogue) {
    const ConvolutionCall call = convolution_call(Direction::forward, y, x, w, convolution, epilogue);
    if (x.dtype == DType::f64)
        return reference::convolution_forward(y.as<double>(), x.as<double>(), w.as<double>(), call,
                                              static_cast<const double*>(epilogue.bias.data),
                                              static_cast<const double*>(epilogue.residual.data));
    convolutions_.run(call,
                      {.x = x.data, .w = w.data, .y = y.data, .bias = epilogue.bias.data, .residual = epilogue.residual.data});
}

void CpuBackend::convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                           bool accumulate) {
    const ConvolutionCall call = convolution_call(Direction::backward_data, dL_dy, dL_dx, w, convolution, {}, accumulate);
    if (dL_dy.dtype == DType::f64)
        return reference::convolution_backward_data(dL_dx.as<double>(), dL_dy.as<double>(), w.as<double>(), call);
    convolutions_.run(call, {.x = dL_dx.data, .w = w.data, .y = dL_dy.data});
}

void CpuBackend::convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) {
    const ConvolutionCall call = convolution_call(Direction::backward_filter, dL_dy, x, dL_dw, convolution);
    if (dL_dy.dtype == DType::f64)
        return reference::convolution_backward_filter(dL_dw.as<double>(), x.as<double>(), dL_dy.as<double>(), call);
    convolutions_.run(call, {.x = x.data, .w = dL_dw.data, .y = dL_dy.data});
}

void CpuBackend::matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                        float beta) {
    const MatmulCall p = matmul_call(c, a, transpose_a, b, transpose_b, alpha, beta);
    if (c.dtype == DType::f64)
        return reference::matmul(c.as<double>(), a.as<double>(), b.as<double>(), p.batch, p.m, p.n, p.k, p.transpose_a, p.transpose_b,
                                 alpha, beta);
    matmuls_.run(p, c.as<float>(), a.as<float>(), b.as<float>());
}

}  // namespace cpu

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) { return std::make_unique<cpu::CpuBackend>(options); }

}  // namespace mlkd
