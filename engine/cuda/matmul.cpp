#include "engine/cuda/matmul.h"

#include "engine/types.h"

namespace mlkd::cuda {
namespace {

constexpr std::size_t workspace_bytes = std::size_t{32} << 20;  // what cuBLAS recommends for Hopper; less elsewhere

cublasHandle_t make_handle(const Cublas& cublas) {
    cublasHandle_t handle = nullptr;
    cublas.check(cublas.create(&handle), "starting");
    return handle;
}

}  // namespace

ColumnMajorProduct column_major(const MatmulCall& p) {
    return {.transpose_first = p.transpose_b,
            .transpose_second = p.transpose_a,
            .m = p.n,
            .n = p.m,
            .k = p.k,
            .first_ld = p.transpose_b ? p.k : p.n,
            .second_ld = p.transpose_a ? p.m : p.k,
            .result_ld = p.n,
            .first_stride = p.k * p.n,
            .second_stride = p.m * p.k,
            .result_stride = p.m * p.n};
}

Matmuls::Matmuls(const Cublas& cublas, cudaStream_t stream, MathMode mode)
    : cublas_(cublas),
      compute_(mode == MathMode::fp32 ? CUBLAS_COMPUTE_32F_PEDANTIC : CUBLAS_COMPUTE_32F_FAST_TF32),
      workspace_(allocate_device_memory(workspace_bytes, stream)),
      handle_(make_handle(cublas), cublas.destroy) {
    cublas_.check(cublas_.set_stream(handle_.get(), stream), "setting the stream");
    // After the stream: setting that brings cuBLAS's own workspace back.
    cublas_.check(cublas_.set_workspace(handle_.get(), workspace_.get(), workspace_bytes), "setting the workspace");
}

void Matmuls::run(const MatmulCall& call, const Tensor& c, const Tensor& a, const Tensor& b) {
    with_real_type(c.dtype, [&](auto zero) {
        using T = decltype(zero);
        constexpr bool twofold = sizeof(T) == sizeof(double);
        run(call, c.as<T>(), a.as<T>(), b.as<T>(), twofold ? CUDA_R_64F : CUDA_R_32F, twofold ? CUBLAS_COMPUTE_64F_PEDANTIC : compute_);
    });
}

// T is the type `data`, and that of the factors alpha and beta.
template <class T>
void Matmuls::run(const MatmulCall& call, T* c, const T* a, const T* b, cudaDataType_t data, cublasComputeType_t compute) {
    const ColumnMajorProduct p = column_major(call);
    const T alpha = call.alpha, beta = call.beta;
    const auto operation = [](bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; };
    cublas_.check(cublas_.gemm_strided_batched(handle_.get(), operation(p.transpose_first), operation(p.transpose_second), p.m, p.n, p.k,
                                               &alpha, b, data, p.first_ld, p.first_stride, a, data, p.second_ld, p.second_stride, &beta,
                                               c, data, p.result_ld, p.result_stride, call.batch, compute, CUBLAS_GEMM_DEFAULT),
                  "matrix product " + call.text());
}

}  // namespace mlkd::cuda
