#pragma once
// A dataset that lies in device memory as bytes, and the batches made from it there: one launch each, equal to the
// Loader's byte for byte before normalisation. The order of the epoch and the place in it are device memory too, so that a
// recorded enqueue() gives the next batch each time it is replayed.
#include "data/feeds/feed.h"
#include "data/views/views.h"
#include "engine/arena.h"

namespace mlkd {

class ResidentFeed final : public BatchFeed {
public:
    ResidentFeed(Backend& backend, const Dataset& dataset, const LoaderOptions& options, DType images_type);

    std::int64_t batches() const override;
    void start_epoch(std::uint32_t epoch, std::int64_t first_batch) override;
    std::int64_t next() override;
    void enqueue() override;
    void replayed() override { device_is_behind_ = false; }
    double wait_seconds() const override { return 0; }
    Tensor images() const override { return images_.slice(0, options_.views * size_); }
    Tensor target() const override { return target_.slice(0, size_); }

private:
    Backend& backend_;
    LoaderOptions options_;
    PersistentArena memory_;
    EpochOnDevice epoch_;
    Tensor images_;  // (V·B, 32, 32, 3)
    Tensor target_;  // (B) i32

    void set_position(std::int64_t batch);

    std::uint32_t epoch_number_ = 0;
    bool device_is_behind_ = false;  // a batch was given, and not made
    std::int64_t given_ = 0;  // batches of the epoch before the one that next() gives
    std::int64_t size_ = 0;
};

}  // namespace mlkd
