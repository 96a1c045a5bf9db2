#include "data/feeds/loader_feed.h"

#include "data/image.h"
#include "engine/kernels/elementwise.h"

namespace mlkd {

LoaderFeed::LoaderFeed(Backend& backend, const Dataset& dataset, const LoaderOptions& options, DType images_type)
    : backend_(backend), loader_(dataset, options), memory_(backend), views_(options.views) {
    const Shape shape{views_ * options.batch_size, image_side, image_side, image_channels};
    loaded_ = memory_.allocate("loaded images", DType::f32, shape);
    images_ = images_type == DType::f32 ? loaded_ : memory_.allocate("images", images_type, shape);
    target_ = memory_.allocate("target", DType::i32, {options.batch_size});
}

std::int64_t LoaderFeed::next() {
    const Batch* batch = loader_.next();
    if (batch == nullptr) return size_ = 0;
    size_ = batch->size;
    backend_.copy_from_host(loaded_.data, batch->images.data, batch->images.bytes());
    backend_.copy_from_host(target_.data, batch->labels.data(), target().bytes());
    return size_;
}

void LoaderFeed::enqueue() {
    if (images_.dtype != DType::f32) convert(backend_.stream(), images(), loaded_.slice(0, views_ * size_));
}

}  // namespace mlkd
