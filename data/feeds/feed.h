#pragma once
// The batches of an epoch as tensors in device memory, one after the other. On a GPU the whole dataset lies there and views
// are made by kernels; for a CPU the Loader's threads make them beside the network.
#include <cstdint>
#include <memory>

#include "data/dataset.h"
#include "data/feeds/loader.h"
#include "engine/backend.h"
#include "engine/tensor.h"

namespace mlkd {

class BatchFeed {
public:
    virtual ~BatchFeed() = default;

    virtual std::int64_t batches() const = 0;  // of an epoch
    // Starts an epoch at batch `first_batch`, whatever epoch runs.
    virtual void start_epoch(std::uint32_t epoch, std::int64_t first_batch = 0) = 0;
    // Goes on to the next batch and returns its size; 0 at the end of the epoch. Its images are there after enqueue(). A batch that was
    // given and not used is left out.
    virtual std::int64_t next() = 0;
    // Enqueues what the device has to do for the batch, as does every later replay if it was recorded: nothing in it depends
    // on the host but the batch's size.
    virtual void enqueue() = 0;
    // Say this when a recorded enqueue() was replayed: the device has gone on to the next batch.
    virtual void replayed() {}
    // Seconds of the epoch that next() was blocked.
    virtual double wait_seconds() const = 0;

    // Of the current batch: (V·size, 32, 32, 3) of the type asked for, weak views first; (size) i32.
    virtual Tensor images() const = 0;
    virtual Tensor target() const = 0;
};

// images_type: f32 or bf16. The dataset must outlive the feed. Throws UsageError for options without sense, and Error where a
// label is not one of the dataset's classes or the memory is not there.
std::unique_ptr<BatchFeed> make_feed(Backend& backend, const Dataset& dataset, LoaderOptions options, DType images_type);

}  // namespace mlkd
