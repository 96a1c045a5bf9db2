#include "data/resident_feed.h"

#include <algorithm>
#include <vector>

#include "data/image.h"
#include "engine/error.h"

namespace mlkd {
namespace {

// Row 0: the labels of the batch; then the place moves on to the next one. The last launch of a batch.
struct TakeTarget {
    std::int32_t* target;        // (B)
    const std::int32_t* labels;  // (N)
    const std::int64_t* order;   // (N)
    EpochPosition* position;
    std::int64_t size;

    template <class Team> MLKD_HD void operator()(const Team& team, std::int64_t) const {
        const std::int64_t first = position->next;
        for (std::int64_t i = team.rank(); i < size; i += team.size()) target[i] = labels[order[first + i]];
        team.sync();  // everybody has read the place
        if (team.rank() == 0) position->next = first + size;
    }
};

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
    bytes_ = on_device(backend, memory_, "dataset", DType::u8, {count, image_side, image_side, image_channels}, dataset.images.data());
    labels_ = on_device(backend, memory_, "labels", DType::i32, {count}, dataset.labels.data());
    normalisation_ = on_device(backend, memory_, "normalisation", DType::f32, {image_channels, 256}, normalisation_table(dataset).data());
    order_ = memory_.allocate("order", DType::i64, {count});
    static_assert(sizeof(EpochPosition) % sizeof(std::int64_t) == 0);
    position_ = static_cast<EpochPosition*>(memory_.allocate("position", DType::i64, {sizeof(EpochPosition) / sizeof(std::int64_t)}).data);
    images_ = memory_.allocate("images", images_type, {options_.views * options_.batch_size, image_side, image_side, image_channels});
    target_ = memory_.allocate("target", DType::i32, {options_.batch_size});
}

std::int64_t ResidentFeed::batches() const { return (labels_.dim(0) + options_.batch_size - 1) / options_.batch_size; }

void ResidentFeed::start_epoch(std::uint32_t epoch, std::int64_t first_batch) {
    MLKD_CHECK(first_batch >= 0 && first_batch <= batches(), "data: an epoch cannot start behind its end");
    const std::vector<std::int64_t> order = options_.shuffle ? epoch_order(labels_.dim(0), options_.seed, epoch) : given_order(labels_.dim(0));
    backend_.copy_from_host(order_.data, order.data(), order_.bytes());
    const EpochPosition position{first_batch * options_.batch_size, options_.seed, epoch};
    backend_.copy_from_host(position_, &position, sizeof position);
    given_ = first_batch;
}

std::int64_t ResidentFeed::next() {
    if (given_ == batches()) return size_ = 0;
    size_ = std::min(options_.batch_size, labels_.dim(0) - given_ * options_.batch_size);
    ++given_;
    return size_;
}

void ResidentFeed::make() {
    for (int v = 0; v < options_.views; ++v) {
        const View view = !options_.augment ? View::plain : v == 0 ? View::weak : View::strong;
        make_views_at(backend_.stream(), images_.slice(v * size_, size_), bytes_, order_, position_, normalisation_, view);
    }
    for_each_row(backend_.stream(), 1,
                 TakeTarget{target_.as<std::int32_t>(), labels_.as<std::int32_t>(), order_.as<std::int64_t>(), position_, size_});
}

}  // namespace mlkd
