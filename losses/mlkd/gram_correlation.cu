#include "engine/kernels/launch.h"
#include "losses/mlkd/gram_correlation.h"

namespace mlkd {

std::int64_t gram_blocks(std::int64_t samples, std::int64_t classes) {
    const std::int64_t n = samples <= classes ? samples : classes;
    return (n + GramCoefficients::rows - 1) / GramCoefficients::rows;
}

void gram_correlation(Backend& backend, StepArena& arena, const Tensor& dL_dsoftmax, const Tensor& batch_sums, const Tensor& class_sums,
                      const Tensor& student_softmax, const Tensor& difference, const Term* terms, const float* masks) {
    const Tensor &a = student_softmax, &u = difference;
    const std::int64_t count = a.dim(0), samples = a.dim(1), classes = a.dim(2);
    const bool by_samples = samples <= classes;
    const std::int64_t n = by_samples ? samples : classes;
    const StepArena::Scope scope(arena);
    const Tensor p = arena.allocate("loss/gram P", DType::f32, {count, n, n});
    const Tensor q = arena.allocate("loss/gram Q", DType::f32, {count, n, n});
    const Tensor r = arena.allocate("loss/gram R", DType::f32, {count, n, n});
    const Transpose left = by_samples ? Transpose::no : Transpose::yes, right = by_samples ? Transpose::yes : Transpose::no;
    if (by_samples)
        backend.matmul(p, a, left, u, right);
    else
        backend.matmul(p, u, left, a, right);
    backend.matmul(q, u, left, u, right);
    backend.matmul(r, a, left, a, right);

    const Tensor &x_sums = by_samples ? batch_sums : class_sums, &y_sums = by_samples ? class_sums : batch_sums;
    for_each_row(backend.stream(), count * gram_blocks(samples, classes),
                 GramCoefficients{q.as<float>(), r.as<float>(), x_sums.as<float>(), y_sums.as<float>(), p.as<float>(), terms, masks,
                                  samples, classes},
                 {.scratch_bytes = GramCoefficients::scratch_bytes});

    const Tensor &k_a = q, &k_u = r;
    if (by_samples) {
        backend.matmul(dL_dsoftmax, k_a, Transpose::no, a, Transpose::no);
        backend.matmul(dL_dsoftmax, k_u, Transpose::no, u, Transpose::no, 1.0f, 1.0f);
    } else {
        backend.matmul(dL_dsoftmax, a, Transpose::no, k_a, Transpose::no);
        backend.matmul(dL_dsoftmax, u, Transpose::no, k_u, Transpose::no, 1.0f, 1.0f);
    }
}

}  // namespace mlkd
