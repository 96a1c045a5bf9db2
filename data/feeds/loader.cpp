#include "data/feeds/loader.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <numeric>
#include <utility>

#include "data/image.h"
#include "data/views/views.h"
#include "engine/error.h"
#include "engine/kernels/philox.h"
#include "engine/machine/available_memory.h"

namespace mlkd {

struct Loader::Slot {
    struct Free {
        void operator()(float* memory) const { ::operator delete[](memory, alignment); }
    };
    static constexpr std::align_val_t alignment{64};

    explicit Slot(std::int64_t floats)
        : memory(static_cast<float*>(::operator new[](static_cast<std::size_t>(floats) * sizeof(float), alignment))) {}

    std::unique_ptr<float[], Free> memory;
    Batch batch;
    bool ready = false;
    std::exception_ptr failure;
};

std::vector<std::int64_t> epoch_order(std::int64_t count, std::uint64_t seed, std::uint32_t epoch) {
    std::vector<std::int64_t> order = given_order(count);
    RandomSequence random(seed, Purpose::shuffle, epoch, 0);
    for (std::size_t left = order.size(); left > 1; --left)
        std::swap(order[left - 1], order[random.below(static_cast<std::uint32_t>(left))]);
    return order;
}

std::vector<std::int64_t> given_order(std::int64_t count) {
    std::vector<std::int64_t> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    return order;
}

void check_options(const Dataset& dataset, const LoaderOptions& options) {
    if (options.batch_size < 1) throw UsageError(fmt::format("data: batch size {}; it must be at least 1", options.batch_size));
    if (options.views != 1 && options.views != 2) throw UsageError(fmt::format("data: {} views; there are 1 (weak) or 2", options.views));
    if (options.workers < 1) throw UsageError(fmt::format("data: {} workers; at least 1 is needed", options.workers));
    MLKD_CHECK(dataset.images.size() == dataset.labels.size() * image_bytes, "data: images and labels of a dataset differ in number");
    MLKD_CHECK(dataset.size() <= std::int64_t{1} << 32, "data: more images than random sequences");
}

void check_labels(const Dataset& dataset, std::span<const std::int64_t> indices) {
    for (const std::int64_t index : indices) {
        const std::int32_t label = dataset.labels[static_cast<std::size_t>(index)];
        if (label < 0 || label >= dataset.classes)
            throw Error(
                fmt::format("data: image {} of {} has label {}, but there are {} classes", index, dataset.name, label, dataset.classes));
    }
}

Loader::Loader(const Dataset& dataset, const LoaderOptions& options) : dataset_(dataset), options_(options) {
    check_options(dataset, options);
    options_.batch_size = std::min(options.batch_size, std::max<std::int64_t>(dataset.size(), 1));
    normalisation_ = normalisation_table(dataset);
    const int slots = options.workers + 2;
    require_memory(static_cast<std::uint64_t>(slots * options.views * options_.batch_size * image_bytes) * sizeof(float));
    for (int s = 0; s < slots; ++s) slots_.push_back(std::make_unique<Slot>(options.views * options_.batch_size * image_bytes));
}

Loader::~Loader() { stop(); }

std::int64_t Loader::batches() const { return (dataset_.size() + options_.batch_size - 1) / options_.batch_size; }

void Loader::start_epoch(std::uint32_t epoch, std::int64_t first_batch) {
    MLKD_CHECK(first_batch >= 0 && first_batch <= batches(), "data: an epoch cannot start behind its end");
    stop();
    epoch_ = epoch;
    order_ = options_.shuffle ? epoch_order(dataset_.size(), options_.seed, epoch) : given_order(dataset_.size());
    for (const auto& slot : slots_) {
        slot->ready = false;
        slot->failure = nullptr;
    }
    given_ = taken_ = released_ = first_batch;
    holding_ = stopping_ = false;
    wait_seconds_ = 0;
    started_ = true;
    for (int w = 0; w < options_.workers; ++w) threads_.emplace_back([this] { work(); });
}

void Loader::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
    }
    slot_free_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

const Batch* Loader::next() {
    MLKD_CHECK(started_, "data: next() before start_epoch()");
    std::unique_lock lock(mutex_);
    if (holding_) {
        slots_[static_cast<std::size_t>(released_) % slots_.size()]->ready = false;
        ++released_;
        holding_ = false;
        slot_free_.notify_one();
    }
    if (given_ == batches()) return nullptr;
    Slot& slot = *slots_[static_cast<std::size_t>(given_) % slots_.size()];
    if (!slot.ready) {
        const auto start = std::chrono::steady_clock::now();
        batch_ready_.wait(lock, [&] { return slot.ready; });
        wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    }
    if (slot.failure) std::rethrow_exception(slot.failure);
    ++given_;
    holding_ = true;
    return &slot.batch;
}

void Loader::work() {
    for (;;) {
        std::unique_lock lock(mutex_);
        slot_free_.wait(lock, [&] {
            return stopping_ || taken_ == batches() || taken_ < released_ + static_cast<std::int64_t>(slots_.size());
        });
        if (stopping_ || taken_ == batches()) return;
        const std::int64_t batch = taken_++;
        Slot& slot = *slots_[static_cast<std::size_t>(batch) % slots_.size()];
        lock.unlock();

        std::exception_ptr failure;
        try {
            fill(slot, batch);
        } catch (...) {
            failure = std::current_exception();
        }
        lock.lock();
        slot.failure = failure;
        slot.ready = true;
        lock.unlock();
        batch_ready_.notify_one();
    }
}

void Loader::fill(Slot& slot, std::int64_t batch) {
    const std::int64_t first = batch * options_.batch_size;
    const std::int64_t size = std::min(options_.batch_size, dataset_.size() - first);
    Batch& out = slot.batch;
    out.size = size;
    out.indices.assign(order_.begin() + first, order_.begin() + first + size);
    check_labels(dataset_, out.indices);
    out.labels.clear();
    for (const std::int64_t index : out.indices) out.labels.push_back(dataset_.labels[static_cast<std::size_t>(index)]);
    out.images = view_of(slot.memory.get(), Shape{options_.views * size, image_side, image_side, image_channels});
    const Tensor images = view_of(dataset_.images.data(), Shape{dataset_.size(), image_side, image_side, image_channels});
    const Tensor index = view_of(out.indices.data(), Shape{size});
    const Tensor normalisation = view_of(normalisation_.data(), Shape{image_channels, 256});
    for (int v = 0; v < options_.views; ++v) {
        const View view = !options_.augment ? View::plain : v == 0 ? View::weak : View::strong;
        make_views_on_this_thread(out.images.slice(v * size, size), images, index, normalisation, {view, options_.seed, epoch_});
    }
}

}  // namespace mlkd
