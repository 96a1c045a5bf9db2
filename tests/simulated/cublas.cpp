// Products of the simulated cuBLAS against their definition, and what it refuses.
#include <cublas_v2.h>

#include <cmath>

#include "engine/cuda/vendor.h"
#include "tests/simulated/device.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

constexpr std::int64_t m = 5, n = 7, k = 9, batch = 2, a_leading = 11, b_leading = 12, c_leading = 6, a_stride = 120, b_stride = 130,
                       c_stride = 50;

template <class T>
std::vector<T> numbers(std::int64_t count, int seed) {
    std::vector<T> values;
    for (std::int64_t i = 0; i < count; ++i) values.push_back(static_cast<T>(std::sin(static_cast<double>(i * 7 + seed))));
    return values;
}

struct Handle {
    cuda::Cublas cublas = cuda::load_cublas();
    cublasHandle_t handle = nullptr;
    explicit Handle(const TestStream& stream) {
        REQUIRE(cublas.create(&handle) == CUBLAS_STATUS_SUCCESS);
        REQUIRE(cublas.set_stream(handle, stream) == CUBLAS_STATUS_SUCCESS);
    }
    ~Handle() { cublas.destroy(handle); }
    Handle(const Handle&) = delete;

    template <class T>
    cublasStatus_t multiply(T* c, const T* a, const T* b, bool ta, bool tb, T alpha, T beta, cublasComputeType_t compute,
                            std::int64_t leading = a_leading) const {
        const cudaDataType type = sizeof(T) == 8 ? CUDA_R_64F : CUDA_R_32F;
        const auto operation = [](bool t) { return t ? CUBLAS_OP_T : CUBLAS_OP_N; };
        return cublas.gemm_strided_batched(handle, operation(ta), operation(tb), m, n, k, &alpha, a, type, leading, a_stride, b, type,
                                           b_leading, b_stride, &beta, c, type, c_leading, c_stride, batch, compute, CUBLAS_GEMM_DEFAULT);
    }
};

template <class T>
double error_of_product(cublasComputeType_t compute, bool ta, bool tb) {
    const TestStream stream;
    const Handle handle(stream);
    const auto a = numbers<T>(batch * a_stride, 1), b = numbers<T>(batch * b_stride, 2), c = numbers<T>(batch * c_stride, 3);
    const OnDevice<T> da(stream, a), db(stream, b), dc(stream, c);
    REQUIRE(handle.multiply<T>(dc.data(), da.data(), db.data(), ta, tb, T(0.5), T(-2), compute) == CUBLAS_STATUS_SUCCESS);
    const auto seen = dc.fetched(stream);
    std::vector<double> expected(c.begin(), c.end());
    for (std::int64_t z = 0; z < batch; ++z)
        for (std::int64_t i = 0; i < m; ++i)
            for (std::int64_t j = 0; j < n; ++j) {
                double sum = 0;
                for (std::int64_t l = 0; l < k; ++l)
                    sum += double{a[static_cast<std::size_t>(z * a_stride + (ta ? i * a_leading + l : l * a_leading + i))]} *
                           double{b[static_cast<std::size_t>(z * b_stride + (tb ? l * b_leading + j : j * b_leading + l))]};
                double& out = expected[static_cast<std::size_t>(z * c_stride + j * c_leading + i)];
                out = 0.5 * sum - 2 * out;
            }
    double worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) worst = std::fmax(worst, std::fabs(expected[i] - double{seen[i]}));
    return worst;
}

}  // namespace

TEST_CASE("simulated cuBLAS: products of strided batches equal their definition") {
    for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
            CHECK(error_of_product<double>(CUBLAS_COMPUTE_64F_PEDANTIC, ta, tb) < 1e-14);
            CHECK(error_of_product<float>(CUBLAS_COMPUTE_32F_PEDANTIC, ta, tb) < 2e-6);
            const double coarse = error_of_product<float>(CUBLAS_COMPUTE_32F_FAST_TF32, ta, tb);
            CHECK(coarse < 3e-3);
            CHECK(coarse > 2e-5);  // factors were rounded
        }
}

TEST_CASE("simulated cuBLAS: what is not device memory, or does not fit") {
    const TestStream stream;
    const Handle handle(stream);
    const OnDevice<float> a(batch * a_stride), b(batch * b_stride), c(batch * c_stride), small(20);
    const auto compute = CUBLAS_COMPUTE_32F_PEDANTIC;
    std::vector<float> host(batch * a_stride);
    CHECK(says(fault_of([&] { handle.multiply(c.data(), host.data(), b.data(), false, false, 1.0f, 0.0f, compute); }),
               "A does not lie in one allocation"));
    CHECK(says(fault_of([&] { handle.multiply(small.data(), a.data(), b.data(), false, false, 1.0f, 0.0f, compute); }),
               "C does not lie in one allocation"));
    CHECK(handle.multiply(c.data(), a.data(), b.data(), false, false, 1.0f, 0.0f, compute, m - 1) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(handle.multiply(c.data(), a.data(), b.data(), true, false, 1.0f, 0.0f, compute, k - 1) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(handle.multiply(c.data(), a.data(), b.data(), false, false, 1.0f, 0.0f, CUBLAS_COMPUTE_16F) == CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_CASE("simulated cuBLAS: the workspace that was set has to be there") {
    const TestStream stream;
    const Handle handle(stream);
    const OnDevice<float> a(batch * a_stride), b(batch * b_stride), c(batch * c_stride);
    CHECK(says(fault_of([&] {
                   void* workspace = nullptr;
                   cudaMalloc(&workspace, 1 << 20);
                   handle.cublas.set_workspace(handle.handle, workspace, 1 << 20);
                   cudaFree(workspace);
                   handle.multiply(c.data(), a.data(), b.data(), false, false, 1.0f, 0.0f, CUBLAS_COMPUTE_32F_PEDANTIC);
               }),
               "matrix product is given memory that is not, or no longer, the device's"));
}
