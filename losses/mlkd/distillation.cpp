#include "losses/mlkd/distillation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "engine/error.h"
#include "losses/cross_entropy.h"
#include "losses/mlkd/fused_distillation.h"
#include "losses/mlkd/gram_correlation.h"
#include "losses/mlkd/kl_correlation.h"
#include "losses/mlkd/logit_gradient.h"
#include "losses/mlkd/official_masks.h"
#include "losses/mlkd/softmax_difference.h"
#include "losses/mlkd/terms.h"

namespace mlkd {
namespace {

// Terms are worked on in groups whose workspace is about this large: many for small shapes, so that launches are few,
// one by one for large ones, so that memory does not grow with the number of temperatures.
constexpr std::int64_t group_bytes = std::int64_t{48} << 20;

void require_weight(const char* key, float value) {
    if (!std::isfinite(value) || value < 0)
        throw UsageError(fmt::format("{} is {}, but must be a finite number of at least 0", key, value));
}

}  // namespace

void validate(const DistillationConfig& config) {
    if (config.temperatures.empty()) throw UsageError("temperatures is an empty list, but needs at least one temperature");
    for (std::size_t i = 0; i < config.temperatures.size(); ++i)
        if (const float temperature = config.temperatures[i]; !std::isfinite(temperature) || temperature <= 0)
            throw UsageError(fmt::format("temperatures[{}] is {}, but must be a finite number above 0", i, temperature));
    require_weight("ce_weight", config.ce_weight);
    require_weight("label_smoothing", config.label_smoothing);
    if (config.label_smoothing >= 1)
        throw UsageError(fmt::format("label_smoothing is {}, but must be less than 1", config.label_smoothing));
    require_weight("kd_weight", config.kd_weight);
    require_weight("instance_weight", config.instance_weight);
    require_weight("batch_weight", config.batch_weight);
    require_weight("class_weight", config.class_weight);
}

int view_count(Levels levels) { return levels == Levels::paper || levels == Levels::released ? 2 : 1; }

// The tensors of one call.
struct DistillationLoss::Step {
    Tensor dL_dlogits, student, teacher;  // (V·B, C)
    Tensor row_kl;                        // (terms, B)
    Tensor batch_sums, class_sums;        // (correlating terms, parts)
    const float* masks;                   // (2) on the device, or nullptr
    std::int64_t samples, classes;
};

DistillationLoss::DistillationLoss(Backend& backend, DistillationConfig config, LossForm form)
    : backend_(backend), config_(std::move(config)), form_(form) {
    validate(config_);
    terms_ = terms_of(config_);
    correlating_ = std::count_if(terms_.begin(), terms_.end(), [](const Term& term) { return term.correlates(); });
    const auto counters = static_cast<std::size_t>(fused_counters(static_cast<std::int64_t>(terms_.size()), view_count(config_.levels)));
    counters_ = static_cast<int*>(backend_.allocate(counters * sizeof(int)));
    if (terms_.empty()) return;
    device_terms_ = static_cast<Term*>(backend_.allocate(terms_.size() * sizeof(Term)));
    backend_.copy_from_host(device_terms_, terms_.data(), terms_.size() * sizeof(Term));
}

DistillationLoss::~DistillationLoss() {
    if (device_terms_ != nullptr) backend_.free(device_terms_);
    if (counters_ != nullptr) backend_.free(counters_);
}

bool DistillationLoss::fuses(std::int64_t samples, std::int64_t classes) const {
    const bool possible =
        std::max(samples, classes) <= fused_distillation_limit && (correlating_ == 0 || config_.divergence == Divergence::frobenius);
    if (form_ != LossForm::fused) return form_ == LossForm::automatic && possible && has_teams(backend_.stream());
    MLKD_CHECK(possible,
               fmt::format("loss: one launch takes at most {} samples and classes and squared distances", fused_distillation_limit));
    return true;
}

void DistillationLoss::forward_backward(StepArena& arena, const Tensor& losses, const Tensor& dL_dlogits, const Tensor& student,
                                        const Tensor& teacher, const Tensor& target) {
    MLKD_CHECK(student.shape.rank() == 2 && student.dim(1) >= 2,
               "loss: logits " + student.shape.text() + " of at least two classes needed");
    const std::int64_t rows = student.dim(0), classes = student.dim(1), samples = rows / view_count(config_.levels);
    MLKD_CHECK(samples >= 1 && samples * view_count(config_.levels) == rows && target.shape == Shape{samples},
               fmt::format("loss: logits {} of {} view(s) and targets {} do not fit", student.shape.text(), view_count(config_.levels),
                           target.shape.text()));
    const std::int64_t parts = config_.levels == Levels::none ? 1 : config_.levels == Levels::instance ? 2 : LossPart::total;
    MLKD_CHECK(dL_dlogits.shape == student.shape && (losses.shape == Shape{parts + 1} || losses.shape == Shape{loss_part_count}),
               "loss: outputs " + dL_dlogits.shape.text() + ", " + losses.shape.text() + " do not fit logits " + student.shape.text());
    MLKD_CHECK(config_.levels == Levels::none || teacher.shape == student.shape,
               "loss: logits of teacher " + teacher.shape.text() + " and student " + student.shape.text() + " differ in shape");

    const StepArena::Scope scope(arena);
    const Stream stream = backend_.stream();
    if (fuses(samples, classes))
        return fused_distillation(stream, arena, losses, dL_dlogits,
                                  {student, teacher, target, terms_, device_terms_, counters_, config_.levels == Levels::released,
                                   config_.ce_weight, config_.label_smoothing});
    const auto term_count = static_cast<std::int64_t>(terms_.size());
    const bool kl = config_.divergence == Divergence::kl;
    const std::int64_t batch_parts = kl ? samples : gram_blocks(samples, classes);
    const std::int64_t class_parts = kl ? classes : gram_blocks(samples, classes);
    const Tensor row_ce = arena.allocate("loss/cross entropy", DType::f32, {rows});
    const Tensor row_kl = arena.allocate("loss/KL", DType::f32, {term_count, samples});
    const Tensor batch_sums = arena.allocate("loss/batch sums", DType::f32, {correlating_, batch_parts});
    const Tensor class_sums = arena.allocate("loss/class sums", DType::f32, {correlating_, class_parts});
    const float* masks = nullptr;
    if (config_.levels == Levels::released && term_count > 0) {
        const Tensor shares = arena.allocate("loss/masks", DType::f32, {2});
        official_masks(stream, arena, shares, teacher.slice(0, samples));
        masks = shares.as<float>();
    }

    cross_entropy(stream, row_ce, dL_dlogits, student, target, config_.ce_weight / static_cast<float>(samples), config_.label_smoothing);

    const Step step{dL_dlogits, student, teacher, row_kl, batch_sums, class_sums, masks, samples, classes};
    const std::int64_t small_side = std::min(samples, classes);
    const std::int64_t term_bytes = 4 * ((kl ? 10 : 3) * samples * classes + (kl ? 0 : 3 * small_side * small_side));
    const std::int64_t together = std::max<std::int64_t>(group_bytes / term_bytes, 1);
    for (std::int64_t first = 0; first < term_count;) {
        const std::int64_t end = first < correlating_ ? correlating_ : term_count;  // a group correlates, or does not
        const std::int64_t count = std::min(together, end - first);
        add_terms(arena, step, static_cast<std::size_t>(first), static_cast<std::size_t>(count));
        first += count;
    }
    loss_sums(stream, LossSums{losses.as<float>(), static_cast<int>(losses.dim(0)) - 1, row_ce.as<float>(), row_kl.as<float>(),
                               batch_sums.as<float>(), class_sums.as<float>(), device_terms_, masks, config_.ce_weight, rows, samples,
                               classes, term_count, correlating_, batch_parts, class_parts});
}

void DistillationLoss::add_terms(StepArena& arena, const Step& step, std::size_t first, std::size_t term_count) {
    const StepArena::Scope scope(arena);
    const Stream stream = backend_.stream();
    const Term* terms = device_terms_ + first;
    const auto start = static_cast<std::int64_t>(first), count = static_cast<std::int64_t>(term_count);
    const Shape matrices{count, step.samples, step.classes};
    const bool correlates = terms_[first].correlates();
    const bool kl = correlates && config_.divergence == Divergence::kl;

    SoftmaxOutputs softmaxes;
    softmaxes.student_softmax = arena.allocate("loss/student softmax", DType::f32, matrices);
    softmaxes.difference = arena.allocate("loss/difference", DType::f32, matrices);
    softmaxes.row_kl = step.row_kl.slice(start, count);
    if (kl) {
        softmaxes.teacher_softmax = arena.allocate("loss/teacher softmax", DType::f32, matrices);
        softmaxes.scales = arena.allocate("loss/softmax scales", DType::f32, {count, step.samples, 4});
    }
    softmax_difference(stream, softmaxes, step.student, step.teacher, terms);

    Tensor dL_dsoftmax, dL_dlog_softmax;
    if (correlates) dL_dsoftmax = arena.allocate("loss/softmax gradient", DType::f32, matrices);
    if (kl) {
        dL_dlog_softmax = arena.allocate("loss/log-softmax gradient", DType::f32, matrices);
        kl_correlation(backend_, arena,
                       {dL_dsoftmax, dL_dlog_softmax, step.batch_sums.slice(start, count), step.class_sums.slice(start, count)}, softmaxes,
                       step.student, step.teacher, terms, step.masks, terms_[first].batch != 0, terms_[first].class_ != 0);
    } else if (correlates) {
        gram_correlation(backend_, arena, dL_dsoftmax, step.batch_sums.slice(start, count), step.class_sums.slice(start, count),
                         softmaxes.student_softmax, softmaxes.difference, terms, step.masks);
    }
    logit_gradient(stream, step.dL_dlogits, softmaxes.difference, softmaxes.student_softmax, dL_dsoftmax, dL_dlog_softmax, step.student,
                   terms, step.masks);
}

}  // namespace mlkd
