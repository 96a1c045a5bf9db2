#pragma once
// Matrix products of the CUDA backend: cuBLAS, which counts columns first.
#include <cublas_v2.h>

#include <cstdint>
#include <memory>

#include "engine/cuda/device_memory.h"
#include "engine/cuda/vendor.h"
#include "engine/vendor_calls.h"

namespace mlkd::cuda {

// A row-major product as cuBLAS takes it: a row-major matrix is its own transpose stored by columns, and
// c = op(a) · op(b) is c^T = op(b)^T · op(a)^T, so that b comes first and m and n change places.
struct ColumnMajorProduct {
    bool transpose_first, transpose_second;
    std::int64_t m, n, k;                                   // of c^T: m = columns of c, n = rows of c
    std::int64_t first_ld, second_ld, result_ld;            // elements from column to column
    std::int64_t first_stride, second_stride, result_stride;  // elements from matrix to matrix of a batch
};
ColumnMajorProduct column_major(const MatmulCall& call);

class Matmuls {
public:
    Matmuls(const Cublas& cublas, cudaStream_t stream, MathMode mode);
    // c, a, b: all f32, or all f64.
    void run(const MatmulCall& call, const Tensor& c, const Tensor& a, const Tensor& b);

private:
    template <class T>
    void run(const MatmulCall& call, T* c, const T* a, const T* b, cudaDataType_t data, cublasComputeType_t compute);

    const Cublas& cublas_;
    cublasComputeType_t compute_;
    // Fixed, so that products repeat bit for bit and nothing is allocated under capture.
    DeviceMemory workspace_;
    std::unique_ptr<cublasContext, decltype(Cublas::destroy)> handle_;
};

}  // namespace mlkd::cuda
