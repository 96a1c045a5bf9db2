#include "apps/evaluation.h"

#include <fmt/format.h>

#include <array>
#include <functional>

#include "data/loader.h"
#include "engine/elementwise.h"
#include "engine/error.h"
#include "losses/accuracy.h"

namespace mlkd {
namespace {

// Calls visit(logits (B, classes), target (B)) for every batch; both live on the device until the next one.
void for_each_batch(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size,
                    const std::function<void(const Tensor& logits, const Tensor& target)>& visit) {
    require_same_classes(network, dataset, network.name());
    network.fold();
    Loader loader(dataset, {.batch_size = batch_size, .views = 1, .seed = 0, .shuffle = false, .augment = false, .workers = 1});
    loader.start_epoch(0);
    while (const Batch* batch = loader.next()) {
        arena.begin(fmt::format("evaluate {} {}", network.name(), batch->size));
        const Tensor loaded = arena.allocate("images", DType::f32, batch->images.shape);
        const DType type = network.precision();
        const Tensor images = type == loaded.dtype ? loaded : arena.allocate("images rounded", type, loaded.shape);
        const Tensor target = arena.allocate("target", DType::i32, {batch->size});
        backend.copy_from_host(loaded.data, batch->images.data, loaded.bytes());
        backend.copy_from_host(target.data, batch->labels.data(), target.bytes());
        if (images.dtype != loaded.dtype) convert(backend.stream(), images, loaded);
        EvaluationPass pass{backend, arena};
        visit(network.evaluate(pass, images), target);
        arena.end();
    }
}

}  // namespace

void require_same_classes(const Network& network, const Dataset& dataset, const std::string& what) {
    if (network.classes() != dataset.classes)
        throw Error(fmt::format("{} has {} classes, but the data set {} has {}: train it on this data, or name its own with --data", what,
                                network.classes(), dataset.name, dataset.classes));
}

Evaluation evaluate(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size) {
    PersistentArena memory(backend);
    const Tensor counters = memory.allocate("counters", DType::f64, {accuracy_counter_count});
    Evaluation result;
    for_each_batch(backend, arena, network, dataset, batch_size, [&](const Tensor& logits, const Tensor& target) {
        accumulate_accuracy(backend.stream(), arena, counters, logits, target);
        result.images += target.elements();
    });
    MLKD_CHECK(result.images == dataset.size(), "evaluation: not every image was seen exactly once");
    std::array<double, accuracy_counter_count> counts{};
    backend.copy_to_host(counts.data(), counters.data, counters.bytes());
    const auto images = static_cast<double>(result.images);
    result.top1 = 100.0 * counts[AccuracyCounter::top1] / images;
    result.top5 = 100.0 * counts[AccuracyCounter::top5] / images;
    result.loss = counts[AccuracyCounter::cross_entropy] / images;
    return result;
}

std::vector<float> evaluate_logits(Backend& backend, StepArena& arena, Network& network, const Dataset& dataset, std::int64_t batch_size) {
    std::vector<float> all(static_cast<std::size_t>(dataset.size() * dataset.classes));
    std::size_t filled = 0;
    for_each_batch(backend, arena, network, dataset, batch_size, [&](const Tensor& logits, const Tensor&) {
        backend.copy_to_host(all.data() + filled, logits.data, logits.bytes());
        filled += static_cast<std::size_t>(logits.elements());
    });
    return all;
}

}  // namespace mlkd
