#pragma once
// Batches that the host's threads prepare, copied to the device.
#include "data/feeds/feed.h"
#include "engine/arena.h"

namespace mlkd {

class LoaderFeed final : public BatchFeed {
public:
    LoaderFeed(Backend& backend, const Dataset& dataset, const LoaderOptions& options, DType images_type);

    std::int64_t batches() const override { return loader_.batches(); }
    void start_epoch(std::uint32_t epoch, std::int64_t first_batch) override { loader_.start_epoch(epoch, first_batch); }
    std::int64_t next() override;
    void enqueue() override;
    double wait_seconds() const override { return loader_.wait_seconds(); }
    Tensor images() const override { return images_.slice(0, views_ * size_); }
    Tensor target() const override { return target_.slice(0, size_); }

private:
    Backend& backend_;
    Loader loader_;
    PersistentArena memory_;
    std::int64_t views_, size_ = 0;
    Tensor loaded_;  // (V·B, 32, 32, 3) f32
    Tensor images_;  // the same in the type asked for: loaded_ itself where that is f32
    Tensor target_;  // (B) i32
};

}  // namespace mlkd
