#pragma once
// Batches of a dataset, prepared by threads in the background while the network computes.
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "data/dataset.h"
#include "engine/tensor.h"

namespace mlkd {

struct Batch {
    std::int64_t size = 0;
    std::vector<std::int32_t> labels;   // (size)
    std::vector<std::int64_t> indices;  // (size), of the images in the dataset
    Tensor images;                      // (views · size, 32, 32, 3) f32, normalised; the weak views first, then the strong
};

struct LoaderOptions {
    std::int64_t batch_size = 64;
    int views = 1;         // 1: weak; 2: weak and strong
    std::uint64_t seed = 0;
    bool shuffle = false;  // another order each epoch; without: as in the dataset
    bool augment = false;  // without: views are the images as they are
    int workers = 1;       // threads; they change no result
};

// The order of `count` images in an epoch: Fisher and Yates' shuffle, a pure function of (count, seed, epoch); and the order
// without a shuffle.
std::vector<std::int64_t> epoch_order(std::int64_t count, std::uint64_t seed, std::uint32_t epoch);
std::vector<std::int64_t> given_order(std::int64_t count);

// Throws UsageError for options without sense, Error for a damaged dataset.
void check_options(const Dataset& dataset, const LoaderOptions& options);
// Throws Error naming the first of the images numbered `indices` whose label is not one of the dataset's classes.
void check_labels(const Dataset& dataset, std::span<const std::int64_t> indices);

class Loader {
public:
    // The dataset must outlive the loader. Throws UsageError for options without sense.
    Loader(const Dataset& dataset, const LoaderOptions& options);
    ~Loader();
    Loader(const Loader&) = delete;
    Loader& operator=(const Loader&) = delete;

    // Ends whatever epoch runs and starts another at batch `first_batch`: an epoch that is taken up again in its middle
    // gives the batches that it would have given.
    void start_epoch(std::uint32_t epoch, std::int64_t first_batch = 0);
    // The next batch, the last one maybe smaller, or nullptr at the end of the epoch. Valid until the next call of next(),
    // start_epoch() or the destructor. What failed while the batch was made is thrown here.
    const Batch* next();

    std::int64_t batches() const;  // of an epoch
    double wait_seconds() const { return wait_seconds_; }  // that next() was blocked since start_epoch()

private:
    struct Slot;

    void stop();
    void work();
    void fill(Slot& slot, std::int64_t batch);

    const Dataset& dataset_;
    LoaderOptions options_;
    std::vector<float> normalisation_;  // (3, 256)
    std::vector<std::unique_ptr<Slot>> slots_;  // batch k lies in slot k mod slots
    std::vector<std::thread> threads_;

    // Constant while threads run.
    std::uint32_t epoch_ = 0;
    std::vector<std::int64_t> order_;
    bool started_ = false;

    // Used by next() alone.
    std::int64_t given_ = 0;  // the batch that the next call gives
    bool holding_ = false;    // whether batch given_ - 1 is still with the caller
    double wait_seconds_ = 0;

    std::mutex mutex_;
    std::condition_variable slot_free_, batch_ready_;
    // Under the mutex, as are the states of slots.
    std::int64_t taken_ = 0;     // the batch that a free thread takes up
    std::int64_t released_ = 0;  // batches below it are no longer needed
    bool stopping_ = false;
};

}  // namespace mlkd
