#include <algorithm>

#include "engine/kernels/launch.h"
#include "losses/mlkd/kl_correlation.h"

namespace mlkd {
namespace {

constexpr std::int64_t block_bytes = std::int64_t{64} << 20;  // about the size of the matrices formed at once

void transpose_each(const Stream& stream, const Tensor& to, const Tensor& from, bool accumulate) {
    const std::int64_t blocks = (from.dim(2) + TransposeEach::block - 1) / TransposeEach::block;
    for_each_row(stream, from.dim(0) * blocks, TransposeEach{to.as<float>(), from.as<float>(), from.dim(1), from.dim(2), accumulate});
}

// One level over items: X_s, U_x, X_t (terms, n, d).
struct Level {
    Tensor student, difference, teacher;  // (terms, n, d)
    Tensor sums;                          // (terms, n) ItemSums, f64
    Tensor gradient, direct;              // (terms, n, d), written
    Tensor item_kl;                       // (terms, n), written
    ItemSoftmax softmax;
    const float* masks;
};

// `count` terms from `first`, and of each `rows` rows of R from `from`: one term, or all rows. (terms, n, x) without its
// first axis where there is one term, so that blocks of rows stay dense.
Tensor block_of(const Tensor& items, std::int64_t first, std::int64_t count, std::int64_t from, std::int64_t rows) {
    const Tensor terms = items.slice(first, count);
    if (rows == items.dim(1)) return terms;
    return terms.reshaped({items.dim(1), items.dim(2)}).slice(from, rows).reshaped({1, rows, items.dim(2)});
}

void add_block(Backend& backend, StepArena& arena, const Level& level, std::int64_t first, std::int64_t count, std::int64_t from,
               std::int64_t rows) {
    const std::int64_t n = level.student.dim(1);
    const StepArena::Scope scope(arena);
    const Tensor r_s = arena.allocate("loss/correlation student", DType::f32, {count, rows, n});
    const Tensor r_t = arena.allocate("loss/correlation teacher", DType::f32, {count, rows, n});
    const Tensor d = arena.allocate("loss/correlation difference", DType::f32, {count, rows, n});
    const auto block = [&](const Tensor& items) { return block_of(items, first, count, from, rows); };
    const auto all = [&](const Tensor& items) { return items.slice(first, count); };
    backend.matmul(r_s, block(level.student), Transpose::no, all(level.student), Transpose::yes);
    backend.matmul(r_t, block(level.teacher), Transpose::no, all(level.teacher), Transpose::yes);
    backend.matmul(d, block(level.student), Transpose::no, all(level.difference), Transpose::yes);
    backend.matmul(d, block(level.difference), Transpose::no, all(level.teacher), Transpose::yes, 1.0f, 1.0f);

    ItemSoftmax softmax = level.softmax;
    softmax.terms += first;
    softmax.scales += first * softmax.samples;
    for_each_row(backend.stream(), count * rows,
                 CorrelationKl{d.as<float>(), all(level.item_kl).as<float>(), all(level.direct).as<float>(), r_s.as<float>(),
                               r_t.as<float>(), static_cast<const ItemSums*>(all(level.sums).data), level.masks, softmax, from, rows});

    const Tensor& m = d;
    backend.matmul(all(level.gradient), m, Transpose::yes, block(level.student), Transpose::no, 1.0f, from == 0 ? 0.0f : 1.0f);
    backend.matmul(block(level.gradient), m, Transpose::no, all(level.student), Transpose::no, 1.0f, 1.0f);
}

void add_level(Backend& backend, StepArena& arena, const Level& level) {
    const std::int64_t terms = level.student.dim(0), n = level.student.dim(1);
    const std::int64_t row_bytes = 3 * n * static_cast<std::int64_t>(sizeof(float));
    if (n * row_bytes <= block_bytes) {
        const std::int64_t together = std::clamp<std::int64_t>(block_bytes / (n * row_bytes), 1, terms);
        for (std::int64_t first = 0; first < terms; first += together)
            add_block(backend, arena, level, first, std::min(together, terms - first), 0, n);
        return;
    }
    const std::int64_t rows = std::max<std::int64_t>(block_bytes / row_bytes, 16);
    for (std::int64_t term = 0; term < terms; ++term)
        for (std::int64_t from = 0; from < n; from += rows) add_block(backend, arena, level, term, 1, from, std::min(rows, n - from));
}

}  // namespace

void kl_correlation(Backend& backend, StepArena& arena, const KlCorrelationOutputs& outputs, const SoftmaxOutputs& softmaxes,
                    const Tensor& student, const Tensor& teacher, const Term* terms, const float* masks, bool batch_level,
                    bool class_level) {
    constexpr std::int64_t sums_width = sizeof(ItemSums) / sizeof(double);
    const Stream stream = backend.stream();
    const Tensor &a = softmaxes.student_softmax, &u = softmaxes.difference, &b = softmaxes.teacher_softmax;
    const std::int64_t count = a.dim(0), samples = a.dim(1), classes = a.dim(2);
    const StepArena::Scope scope(arena);
    const auto transposed = [&](const char* name) { return arena.allocate(name, DType::f32, {count, classes, samples}); };
    const Tensor a_t = transposed("loss/student softmax transposed"), u_t = transposed("loss/difference transposed"),
                 b_t = transposed("loss/teacher softmax transposed");
    transpose_each(stream, a_t, a, false);
    transpose_each(stream, u_t, u, false);
    transpose_each(stream, b_t, b, false);

    ItemSoftmax softmax{
        student.as<float>(), teacher.as<float>(), static_cast<const SoftmaxScale*>(softmaxes.scales.data), terms, samples, classes, true};
    const Tensor class_sums = arena.allocate("loss/class masses", DType::f64, {count, classes, sums_width});
    for_each_row(stream, count * classes,
                 ClassItemSums{static_cast<ItemSums*>(class_sums.data), a_t.as<float>(), b_t.as<float>(), u_t.as<float>(), softmax});
    if (batch_level) {
        softmax.by_class = false;
        const Tensor sums = arena.allocate("loss/sample sums", DType::f64, {count, samples, sums_width});
        for_each_row(stream, count * samples,
                     SampleItemSums{static_cast<ItemSums*>(sums.data), static_cast<const ItemSums*>(class_sums.data), a.as<float>(),
                                    b.as<float>(), u.as<float>(), samples, classes});
        add_level(backend, arena, {a, u, b, sums, outputs.dL_dsoftmax, outputs.dL_dlog_softmax, outputs.batch_sums, softmax, masks});
    }
    if (class_level) {
        softmax.by_class = true;
        const Tensor gradient = transposed("loss/class gradient"), direct = transposed("loss/class direct gradient");
        add_level(backend, arena, {a_t, u_t, b_t, class_sums, gradient, direct, outputs.class_sums, softmax, masks});
        transpose_each(stream, outputs.dL_dsoftmax, gradient, batch_level);
        transpose_each(stream, outputs.dL_dlog_softmax, direct, batch_level);
    }
}

}  // namespace mlkd
