#include "engine/cpu/cpu_backend.h"

#include <fmt/format.h>
#include <omp.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "engine/cpu/reference_convolution.h"
#include "engine/cpu/reference_gemm.h"
#include "engine/error.h"

namespace mlkd {
namespace {

// "AMD EPYC", as the kernel names it.
std::string processor_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);)
        if (line.starts_with("model name"))
            if (const auto colon = line.find(": "); colon != std::string::npos) return line.substr(colon + 2);
    return "unknown processor";
}

// Applies the wish for a number of threads, then says what this machine is: times and bits depend on all of it.
std::string describe(int threads) {
    if (threads < 0) throw UsageError(fmt::format("threads: {} is impossible; 0 means all cores", threads));
    if (threads > 0) omp_set_num_threads(threads);
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

ConvolutionProblem problem_of(Direction direction, const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                              const Epilogue& epilogue = {}) {
    const Shape expected = convolution_output_shape(x.shape, w.shape, convolution);
    MLKD_CHECK(y.shape == expected, "convolution: result " + y.shape.text() + " should be " + expected.text());
    MLKD_CHECK(x.elements() > 0 && w.elements() > 0,
               "convolution: nothing to do for input " + x.shape.text() + " and filter " + w.shape.text());
    return {.direction = direction,
            .n = x.dim(0),
            .h = x.dim(1),
            .w = x.dim(2),
            .c = x.dim(3),
            .k = w.dim(0),
            .r = w.dim(1),
            .s = w.dim(2),
            .stride = convolution.stride,
            .padding = convolution.padding,
            .bias = !epilogue.bias.empty(),
            .residual = !epilogue.residual.empty(),
            .relu = epilogue.relu};
}

template <class T> T* optional_address(const Tensor& tensor, const Shape& expected, const char* name) {
    if (tensor.empty()) return nullptr;
    MLKD_CHECK(tensor.shape == expected, std::string("convolution: ") + name + " " + tensor.shape.text() + " should be " + expected.text());
    return tensor.as<T>();
}

}  // namespace

CpuBackend::CpuBackend(const CpuOptions& options)
    : description_(describe(options.threads)),
      convolutions_(onednn_, policy_named(options.convolution), PlanFile(options.plan_file, description_)),
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
    MLKD_CHECK(epilogue.residual.empty() || epilogue.residual.data != y.data, "convolution: the residual must not be the result");
    const ConvolutionProblem problem = problem_of(Direction::forward, y, x, w, convolution, epilogue);
    if (x.dtype == DType::f64)
        return reference::convolution_forward(y.as<double>(), x.as<double>(), w.as<double>(), problem,
                                              optional_address<double>(epilogue.bias, Shape{problem.k}, "bias"),
                                              optional_address<double>(epilogue.residual, y.shape, "residual"));
    convolutions_.run(problem, {.x = x.as<float>(),
                                .w = w.as<float>(),
                                .y = y.as<float>(),
                                .bias = optional_address<float>(epilogue.bias, Shape{problem.k}, "bias"),
                                .residual = optional_address<float>(epilogue.residual, y.shape, "residual")});
}

void CpuBackend::convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution) {
    const ConvolutionProblem problem = problem_of(Direction::backward_data, dL_dy, dL_dx, w, convolution);
    if (dL_dy.dtype == DType::f64)
        return reference::convolution_backward_data(dL_dx.as<double>(), dL_dy.as<double>(), w.as<double>(), problem);
    convolutions_.run(problem, {.x = dL_dx.as<float>(), .w = w.as<float>(), .y = dL_dy.as<float>()});
}

void CpuBackend::convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) {
    const ConvolutionProblem problem = problem_of(Direction::backward_filter, dL_dy, x, dL_dw, convolution);
    if (dL_dy.dtype == DType::f64)
        return reference::convolution_backward_filter(dL_dw.as<double>(), x.as<double>(), dL_dy.as<double>(), problem);
    convolutions_.run(problem, {.x = x.as<float>(), .w = dL_dw.as<float>(), .y = dL_dy.as<float>()});
}

void CpuBackend::matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                        float beta) {
    const int rank = c.shape.rank();
    const bool same_rank = (rank == 2 || rank == 3) && a.shape.rank() == rank && b.shape.rank() == rank;
    const std::string shapes = a.shape.text() + (transpose_a == Transpose::yes ? "^T " : " ") + b.shape.text() +
                               (transpose_b == Transpose::yes ? "^T" : "") + " -> " + c.shape.text();
    MLKD_CHECK(same_rank, "matrix product: ranks differ or are not 2 or 3: " + shapes);
    const bool ta = transpose_a == Transpose::yes, tb = transpose_b == Transpose::yes;
    const int rows = rank - 2, columns = rank - 1;
    const std::int64_t m = a.dim(ta ? columns : rows), k = a.dim(ta ? rows : columns), n = b.dim(tb ? rows : columns);
    const std::int64_t batch = rank == 3 ? c.dim(0) : 1;
    const bool fits = b.dim(tb ? columns : rows) == k && c.dim(rows) == m && c.dim(columns) == n &&
                      (rank == 2 || (a.dim(0) == batch && b.dim(0) == batch));
    MLKD_CHECK(fits, "matrix product: shapes do not fit: " + shapes);
    MLKD_CHECK(batch * m * n * k > 0, "matrix product: nothing to do for " + shapes);
    if (c.dtype == DType::f64)
        return reference::matmul(c.as<double>(), a.as<double>(), b.as<double>(), batch, m, n, k, ta, tb, alpha, beta);
    matmuls_.run({.batch = batch, .m = m, .n = n, .k = k, .transpose_a = ta, .transpose_b = tb, .alpha = alpha, .beta = beta},
                 c.as<float>(), a.as<float>(), b.as<float>());
}

std::unique_ptr<Backend> make_cpu_backend(const CpuOptions& options) { return std::make_unique<CpuBackend>(options); }

}  // namespace mlkd
