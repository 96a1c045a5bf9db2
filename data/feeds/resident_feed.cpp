#include "data/feeds/resident_feed.h"

#include <algorithm>
#include <vector>

#include "data/image.h"
#include "engine/error.h"

namespace mlkd {
namespace {

Tensor on_device(Backend& backend, PersistentArena& memory, const char* name, DType dtype, const Shape& shape, const void* host) {
    const Tensor tensor = memory.allocate(name, dtype, shape);
    backend.copy_from_host(tensor.data, host, tensor.bytes());
    return tensor;
}

}  // namespace

ResidentFeed::ResidentFeed(Backend& backend, const Dataset& dataset, const LoaderOptions& options, DType images_type)
    : backend_(backend), options_(options), memory_(backend) {
    check_options(dataset, options);
    check_labels(dataset, given_order(dataset.size()));
    options_.batch_size = std::min(options.batch_size, std::max<std::int64_t>(dataset.size(), 1));
    const std::int64_t count = dataset.size();
    epoch_.images = on_device(backend, memory_, "dataset", DType::u8, {count, image_side, image_side, image_channels}, dataset.images.data());
    epoch_.labels = on_device(backend, memory_, "labels", DType::i32, {count}, dataset.labels.data());
    epoch_.normalisation =
        on_device(backend, memory_, "normalisation", DType::f32, {image_channels, 256}, normalisation_table(dataset).data());
    epoch_.order = memory_.allocate("order", DType::i64, {count});
    static_assert(sizeof(EpochPosition) % sizeof(std::int64_t) == 0);
    const Tensor position = memory_.allocate("position", DType::i64, {sizeof(EpochPosition) / sizeof(std::int64_t)});
    epoch_.position = static_cast<EpochPosition*>(position.data);
    images_ = memory_.allocate("images", images_type, {options_.views * options_.batch_size, image_side, image_side, image_channels});
    target_ = memory_.allocate("target", DType::i32, {options_.batch_size});
}

std::int64_t ResidentFeed::batches() const { return (epoch_.labels.dim(0) + options_.batch_size - 1) / options_.batch_size; }

void ResidentFeed::start_epoch(std::uint32_t epoch, std::int64_t first_batch) {
    MLKD_CHECK(first_batch >= 0 && first_batch <= batches(), "data: an epoch cannot start behind its end");
    const std::int64_t count = epoch_.labels.dim(0);
    const std::vector<std::int64_t> order = options_.shuffle ? epoch_order(count, options_.seed, epoch) : given_order(count);
    backend_.copy_from_host(epoch_.order.data, order.data(), epoch_.order.bytes());
    epoch_number_ = epoch;
    set_position(first_batch);
    given_ = first_batch;
}

void ResidentFeed::set_position(std::int64_t batch) {
    const EpochPosition position{batch * options_.batch_size, options_.seed, epoch_number_};
    backend_.copy_from_host(epoch_.position, &position, sizeof position);
    device_is_behind_ = false;
}

std::int64_t ResidentFeed::next() {
    if (given_ == batches()) return size_ = 0;
    size_ = std::min(options_.batch_size, epoch_.labels.dim(0) - given_ * options_.batch_size);
    if (device_is_behind_) set_position(given_);
    ++given_;
    device_is_behind_ = true;
    return size_;
}

void ResidentFeed::enqueue() {
    make_batch(backend_.stream(), images(), target(), epoch_, options_.augment);
    device_is_behind_ = false;
}

}  // namespace mlkd
