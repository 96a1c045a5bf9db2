#include "apps/evaluate/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "apps/output.h"
#include "apps/signals.h"
#include "engine/error.h"
#include "losses/meters/accuracy.h"

namespace mlkd {
namespace {

[[noreturn]] void fail_non_finite(const std::string& what, const std::string& where) {
    throw Error(fmt::format("{}: {} although its weights are finite: some are too large for the precision (try fp32), or its running "
                            "statistics are damaged; use another checkpoint",
                            what, where),
                ExitCode::non_finite);
}

}  // namespace

void require_finite(const Evaluation& evaluation, const Dataset& dataset, const std::string& what) {
    if (!std::isfinite(evaluation.loss)) fail_non_finite(what, fmt::format("its loss on {} is not finite", dataset.name));
}

void require_same_classes(const Network& network, const Dataset& dataset, const std::string& what) {
    if (network.classes() != dataset.classes)
        throw Error(fmt::format("{} has {} classes, but the data set {} has {}: train it on this data, or name its own with --data", what,
                                network.classes(), dataset.name, dataset.classes));
}

void warn_of_other_data(const CheckpointInfo& info, const Dataset& dataset, const std::string& what) {
    if (!other_data(info, dataset.name)) return;
    print_error(fmt::format("warning: {} was trained on {}, but the data here are {}, with as many classes", what, info.dataset, dataset.name));
}

std::unique_ptr<BatchFeed> make_test_feed(Backend& backend, const Network& network, const Dataset& dataset, std::int64_t batch_size) {
    return make_feed(backend, dataset,
                     {.batch_size = batch_size, .views = 1, .seed = 0, .shuffle = false, .augment = false, .workers = 1},
                     network.precision());
}

Evaluator::Evaluator(Backend& backend, StepArena& arena, Network& network, BatchFeed& feed, bool use_graph)
    : backend_(backend),
      arena_(arena),
      network_(network),
      feed_(feed),
      memory_(backend),
      counters_(memory_.allocate("counters", DType::f64, {accuracy_counter_count})),
      work_(backend, use_graph, [this](std::int64_t size) { enqueue(size); }) {}

Evaluation Evaluator::run(const Visit& visit) {
    network_.fold();
    backend_.fill_zero(counters_.data, counters_.bytes());
    feed_.start_epoch(0);
    Evaluation result;
    while (const std::int64_t size = feed_.next()) {
        stop_if_signalled();
        work_.run(size);
        feed_.replayed();
        result.images += size;
        visit(logits_.at(size));
    }
    std::array<double, accuracy_counter_count> counts{};
    backend_.copy_to_host(counts.data(), counters_.data, counters_.bytes());
    const auto images = static_cast<double>(result.images);
    result.top1 = 100.0 * counts[AccuracyCounter::top1] / images;
    result.top5 = 100.0 * counts[AccuracyCounter::top5] / images;
    result.loss = counts[AccuracyCounter::cross_entropy] / images;
    return result;
}

void Evaluator::enqueue(std::int64_t size) {
    arena_.begin(fmt::format("evaluate {} {}", network_.name(), size));
    feed_.enqueue();
    const Tensor logits = network_.evaluate(feed_.images());
    accumulate_accuracy(backend_.stream(), arena_, counters_, logits, feed_.target());
    arena_.end();
    logits_[size] = logits;
}

Evaluation evaluate(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size) {
    require_same_classes(network, dataset, network.name());
    const auto feed = make_test_feed(backend, network, dataset, batch_size);
    const Evaluation result = Evaluator(backend, arena, network, *feed, true).run();
    MLKD_CHECK(result.images == dataset.size(), "evaluation: not every image was seen exactly once");
    return result;
}

std::vector<float> evaluate_logits(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size,
                                   const std::string& what) {
    require_same_classes(network, dataset, what);
    const auto feed = make_test_feed(backend, network, dataset, batch_size);
    std::vector<float> all(static_cast<std::size_t>(dataset.size() * dataset.classes));
    std::size_t filled = 0;
    Evaluator(backend, arena, network, *feed, true).run([&](const Tensor& logits) {
        backend.copy_to_host(all.data() + filled, logits.data, logits.bytes());
        filled += static_cast<std::size_t>(logits.elements());
    });
    const auto bad = std::ranges::find_if(all, [](float logit) { return !std::isfinite(logit); });
    if (bad != all.end())
        fail_non_finite(what,
                        fmt::format("its logits of image {} of {} are not finite", (bad - all.begin()) / dataset.classes, dataset.name));
    return all;
}

}  // namespace mlkd
