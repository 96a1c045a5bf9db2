#include "data/feeds/feed.h"

#include <algorithm>

#include "data/feeds/loader_feed.h"
#include "data/feeds/resident_feed.h"

namespace mlkd {

std::unique_ptr<BatchFeed> make_feed(Backend& backend, const Dataset& dataset, LoaderOptions options, DType images_type) {
    // No batch has more images than there are, and none takes memory for more.
    options.batch_size = std::min(options.batch_size, std::max<std::int64_t>(dataset.size(), 1));
    if (backend.stream().device == DeviceKind::cuda) return std::make_unique<ResidentFeed>(backend, dataset, options, images_type);
    return std::make_unique<LoaderFeed>(backend, dataset, options, images_type);
}

}  // namespace mlkd
