// The part of cuBLAS that the program loads: products of matrices stored by columns, for the simulated device.
#include <cublas_v2.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "tests/simulated_gpu/device.h"

struct cublasContext {
    cudaStream_t stream = nullptr;
    void* workspace = nullptr;  // nullptr: cuBLAS's own
};

namespace {

using mlkd::simulated::enqueue;
using mlkd::simulated::fault;
using mlkd::simulated::is_device_memory;

// Matrices of a batch, in memory.
struct Operand {
    const void* data;
    bool transposed;
    std::int64_t rows, columns;  // of the product's factor, after transposing
    std::int64_t leading, stride;

    std::int64_t stored_rows() const { return transposed ? columns : rows; }
    std::int64_t stored_columns() const { return transposed ? rows : columns; }
    std::int64_t elements(std::int64_t batch) const { return (batch - 1) * stride + (stored_columns() - 1) * leading + stored_rows(); }
};

struct Product {
    Operand a, b, c;
    std::int64_t batch;
    bool tf32;
};

// TF32 keeps 10 bits of the mantissa; halves go away from zero.
double rounded(double value) { return value; }
float rounded(float value) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    bits = (bits + 0x1000) & 0xffffe000;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
}

// The factor's columns one after the other.
template <class T>
std::vector<T> packed(const Operand& o, std::int64_t matrix, bool tf32) {
    const T* const data = static_cast<const T*>(o.data) + matrix * o.stride;
    std::vector<T> out;
    out.reserve(static_cast<std::size_t>(o.rows * o.columns));
    for (std::int64_t column = 0; column < o.columns; ++column)
        for (std::int64_t row = 0; row < o.rows; ++row) {
            const T value = o.transposed ? data[row * o.leading + column] : data[column * o.leading + row];
            out.push_back(tf32 ? rounded(value) : value);
        }
    return out;
}

// Long sums are sums of slices, as every library computes them: 20,000 addends one by one in float32 lose a digit and a half.
constexpr std::int64_t slice = 256;

template <class T>
void multiply(const Product& p, T alpha, T beta) {
    const std::int64_t m = p.c.rows, n = p.c.columns, k = p.a.columns;
    for (std::int64_t matrix = 0; matrix < p.batch; ++matrix) {
        const std::vector<T> a = packed<T>(p.a, matrix, p.tf32), b = packed<T>(p.b, matrix, p.tf32);
        T* const c = static_cast<T*>(const_cast<void*>(p.c.data)) + matrix * p.c.stride;
#pragma omp parallel for schedule(static) if (m * n * k > 1 << 16)
        for (std::int64_t column = 0; column < n; ++column) {
            std::vector<T> sums(static_cast<std::size_t>(m), T{0}), part(sums.size());
            for (std::int64_t first = 0; first < k; first += slice) {
                std::fill(part.begin(), part.end(), T{0});
                for (std::int64_t l = first; l < std::min(k, first + slice); ++l) {
                    const T factor = b[static_cast<std::size_t>(column * k + l)];
                    const T* const from = a.data() + l * m;
                    for (std::int64_t row = 0; row < m; ++row) part[static_cast<std::size_t>(row)] += from[row] * factor;
                }
                for (std::int64_t row = 0; row < m; ++row) sums[static_cast<std::size_t>(row)] += part[static_cast<std::size_t>(row)];
            }
            for (std::int64_t row = 0; row < m; ++row) {
                T& out = c[column * p.c.leading + row];
                const T product = alpha * sums[static_cast<std::size_t>(row)];
                out = beta == T{0} ? product : product + beta * out;
            }
        }
    }
}

void check(const Operand& o, const char* name, std::int64_t batch, std::size_t size) {
    if (!is_device_memory(o.data, static_cast<std::size_t>(o.elements(batch)) * size))
        fault(std::string("matrix product: ") + name + " does not lie in one allocation of device memory");
    if (reinterpret_cast<std::uintptr_t>(o.data) % size != 0) fault(std::string("matrix product: ") + name + " is not aligned");
}

template <class T>
cublasStatus_t enqueue_product(const cublasContext& handle, const Product& p, const void* alpha, const void* beta) {
    const T a = *static_cast<const T*>(alpha), b = *static_cast<const T*>(beta);  // host pointers: read at the call
    const cudaError_t status =
        enqueue(handle.stream, "matrix product", {p.a.data, p.b.data, p.c.data, handle.workspace}, [=] { multiply<T>(p, a, b); });
    return status == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // namespace

extern "C" {

cublasStatus_t cublasGetProperty(libraryPropertyType type, int* value) {
    switch (type) {
        case MAJOR_VERSION:
            *value = CUBLAS_VER_MAJOR;
            return CUBLAS_STATUS_SUCCESS;
        case MINOR_VERSION:
            *value = CUBLAS_VER_MINOR;
            return CUBLAS_STATUS_SUCCESS;
        case PATCH_LEVEL:
            *value = CUBLAS_VER_PATCH;
            return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

const char* cublasGetStatusString(cublasStatus_t status) {
    switch (status) {
        case CUBLAS_STATUS_SUCCESS:
            return "success";
        case CUBLAS_STATUS_INVALID_VALUE:
            return "an argument is invalid";
        case CUBLAS_STATUS_NOT_SUPPORTED:
            return "not supported by the simulated cuBLAS";
        case CUBLAS_STATUS_EXECUTION_FAILED:
            return "the launch failed";
        default:
            return "an error";
    }
}

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
    *handle = new cublasContext;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
    *handle = {.stream = stream, .workspace = nullptr};  // the workspace that was set is forgotten
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void* workspace, size_t bytes) {
    if (!is_device_memory(workspace, bytes)) fault("the workspace of cuBLAS does not lie in one allocation of device memory");
    if (reinterpret_cast<std::uintptr_t>(workspace) % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
    handle->workspace = workspace;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx_64(cublasHandle_t handle, cublasOperation_t transpose_a, cublasOperation_t transpose_b, int64_t m,
                                             int64_t n, int64_t k, const void* alpha, const void* a, cudaDataType a_type, int64_t a_leading,
                                             long long a_stride, const void* b, cudaDataType b_type, int64_t b_leading, long long b_stride,
                                             const void* beta, void* c, cudaDataType c_type, int64_t c_leading, long long c_stride,
                                             int64_t batch, cublasComputeType_t compute, cublasGemmAlgo_t) {
    const Product p{{a, transpose_a != CUBLAS_OP_N, m, k, a_leading, a_stride},
                    {b, transpose_b != CUBLAS_OP_N, k, n, b_leading, b_stride},
                    {c, false, m, n, c_leading, c_stride},
                    batch,
                    compute == CUBLAS_COMPUTE_32F_FAST_TF32};
    if (m < 0 || n < 0 || k < 0 || batch < 0) return CUBLAS_STATUS_INVALID_VALUE;
    for (const Operand& o : {p.a, p.b, p.c})
        if (o.leading < std::max<std::int64_t>(1, o.stored_rows())) return CUBLAS_STATUS_INVALID_VALUE;
    if (m == 0 || n == 0 || batch == 0) return CUBLAS_STATUS_SUCCESS;
    const bool twofold = compute == CUBLAS_COMPUTE_64F_PEDANTIC || compute == CUBLAS_COMPUTE_64F;
    const bool single = compute == CUBLAS_COMPUTE_32F_PEDANTIC || compute == CUBLAS_COMPUTE_32F || p.tf32;
    const cudaDataType type = twofold ? CUDA_R_64F : CUDA_R_32F;
    if ((!twofold && !single) || k == 0 || a_type != type || b_type != type || c_type != type) return CUBLAS_STATUS_NOT_SUPPORTED;
    const std::size_t size = twofold ? sizeof(double) : sizeof(float);
    check(p.a, "A", batch, size), check(p.b, "B", batch, size), check(p.c, "C", batch, size);
    return twofold ? enqueue_product<double>(*handle, p, alpha, beta) : enqueue_product<float>(*handle, p, alpha, beta);
}

}  // extern "C"
