#include "data/feed.h"

#include "data/loader_feed.h"
#include "data/resident_feed.h"

namespace mlkd {

std::unique_ptr<BatchFeed> make_feed(Backend& backend, const Dataset& dataset, const LoaderOptions& options, DType images_type) {
    if (backend.stream().device == DeviceKind::cuda) return std::make_unique<ResidentFeed>(backend, dataset, options, images_type);
    return std::make_unique<LoaderFeed>(backend, dataset, options, images_type);
}

}  // namespace mlkd
