#include <algorithm>

#include "losses/mlkd/fused_distillation.h"

namespace mlkd {
namespace {

constexpr std::int64_t smallest_slab = 8;                     // a sample for each warp
constexpr std::size_t scratch_limit = std::size_t{96} << 10;  // every GPU of sm_80 or later has this much for a block

std::int64_t round_up_to_4(std::int64_t n) { return (n + 3) / 4 * 4; }

// Slabs of all correlating terms make about as many rows as a large GPU has multiprocessors.
GramSlabLayout layout_of(std::int64_t samples, std::int64_t classes, std::int64_t correlating) {
    constexpr std::int64_t rows_wanted = 128;
    constexpr auto floats = static_cast<std::int64_t>(scratch_limit / sizeof(float));
    const std::int64_t pitch = round_up_to_4(classes) + (round_up_to_4(classes) % 8 == 0 ? 4 : 0);
    const std::int64_t fitting = floats / 2 / (3 * pitch) / 4 * 4;
    const std::int64_t wanted = round_up_to_4((samples * correlating + rows_wanted - 1) / rows_wanted);
    const std::int64_t rows = std::max(smallest_slab, std::min(wanted, fitting));
    const std::int64_t chunk = std::min((floats - 3 * rows * pitch) / (2 * pitch + 2 * rows) / 4 * 4, round_up_to_4(samples));
    return {static_cast<int>(rows), static_cast<int>(chunk), static_cast<int>(pitch)};
}

}  // namespace

std::int64_t fused_counters(std::int64_t term_count, std::int64_t views) {
    return FusedDistillation::counter_count(term_count, views, (fused_distillation_limit + smallest_slab - 1) / smallest_slab);
}

void fused_distillation(const Stream& stream, StepArena& arena, const Tensor& losses, const Tensor& dL_dlogits, const FusedInputs& inputs) {
    const std::int64_t rows = inputs.student.dim(0), samples = inputs.target.dim(0), classes = inputs.student.dim(1);
    MLKD_CHECK(samples <= fused_distillation_limit && classes <= fused_distillation_limit,
               "loss in one launch: logits " + inputs.student.shape.text() + " are too large for it");
    const auto term_count = static_cast<std::int64_t>(inputs.terms.size());
    const std::int64_t correlating =
        std::count_if(inputs.terms.begin(), inputs.terms.end(), [](const Term& term) { return term.correlates(); });
    const bool has_masks = inputs.official && std::any_of(inputs.terms.begin(), inputs.terms.end(),
                                                          [](const Term& term) { return term.correlates() || term.instance_masked != 0; });
    const GramSlabLayout layout = layout_of(samples, classes, correlating);
    const std::int64_t slabs = layout.slabs(samples);

    const auto floats = [&](const char* name, const Shape& shape) { return arena.allocate(name, DType::f32, shape).as<float>(); };
    float* row_ce = floats("loss/cross entropy", {rows});
    float* row_kl = floats("loss/KL", {term_count, samples});
    float* batch_sums = floats("loss/batch sums", {correlating, slabs});
    float* class_sums = floats("loss/class sums", {correlating, slabs});
    float* softmax = floats("loss/student softmax", {term_count, samples, classes});
    float* difference = floats("loss/difference", {term_count, samples, classes});
    float* shares = floats("loss/shares of the gradient", {term_count, samples, classes});
    float* masks = has_masks ? floats("loss/masks", {2}) : nullptr;

    std::size_t scratch_bytes = correlating > 0 ? layout.scratch_bytes() : 0;
    double* mask_softmax = nullptr;
    if (has_masks) {
        const std::size_t lists = MasksOfOneRow::list_bytes(samples, classes);
        const std::size_t matrix = static_cast<std::size_t>(samples * classes) * sizeof(double);
        const bool fits = lists + matrix <= scratch_limit;
        if (!fits) mask_softmax = arena.allocate("loss/mask softmax", DType::f64, {samples, classes}).as<double>();
        scratch_bytes = std::max(scratch_bytes, lists + (fits ? matrix : 0));
    }

    const float *student = inputs.student.as<float>(), *teacher = inputs.teacher.empty() ? nullptr : inputs.teacher.as<float>();
    const Term* terms = inputs.device_terms;
    const FusedDistillation kernel{.cross_entropy = {row_ce, dL_dlogits.as<float>(), student, inputs.target.as<std::int32_t>(), samples,
                                                     classes, inputs.ce_weight / static_cast<float>(samples), inputs.label_smoothing},
                                   .softmaxes = {softmax, difference, nullptr, row_kl, nullptr, student, teacher, terms, samples, classes},
                                   .masks = {masks, mask_softmax, teacher, samples, classes},
                                   .correlation = {shares, batch_sums, class_sums, softmax, difference, student, terms, masks, layout,
                                                   static_cast<int>(samples), static_cast<int>(classes)},
                                   .sums = {losses.as<float>(), static_cast<int>(losses.dim(0)) - 1, row_ce, row_kl, batch_sums, class_sums,
                                            terms, masks, inputs.ce_weight, rows, samples, classes, term_count, correlating, slabs, slabs},
                                   .counters = inputs.counters,
                                   .views = static_cast<int>(rows / samples),
                                   .has_masks = has_masks};
    for_each_row(stream, kernel.rows(), kernel, {.scratch_bytes = scratch_bytes, .team_size = 256});
}

}  // namespace mlkd
