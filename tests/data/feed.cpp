#include "data/feeds/feed.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "data/feeds/loader_feed.h"
#include "data/feeds/resident_feed.h"
#include "engine/bfloat16.h"
#include "engine/error.h"
#include "tests/data/images.h"
#include "tests/support/recording_backend.h"

using namespace mlkd;

namespace {

struct Epoch {
    std::vector<std::int64_t> sizes;
    std::vector<std::uint8_t> images, targets;  // bytes, batch after batch
    bool operator==(const Epoch&) const = default;
};

void append(std::vector<std::uint8_t>& bytes, const Tensor& tensor) {
    const auto* first = static_cast<const std::uint8_t*>(tensor.data);
    bytes.insert(bytes.end(), first, first + tensor.bytes());
}

Epoch run_epoch(BatchFeed& feed, std::uint32_t epoch, std::int64_t first_batch = 0) {
    Epoch all;
    feed.start_epoch(epoch, first_batch);
    while (const std::int64_t size = feed.next()) {
        // What enqueue() does not write shows; a LoaderFeed's images came with next().
        if (dynamic_cast<ResidentFeed*>(&feed) != nullptr) std::memset(feed.images().data, 0x7f, feed.images().bytes());
        feed.enqueue();
        all.sizes.push_back(size);
        CHECK(feed.images().dim(0) % size == 0);
        CHECK(feed.target().dim(0) == size);
        append(all.images, feed.images());
        append(all.targets, feed.target());
    }
    CHECK(feed.next() == 0);
    return all;
}

}  // namespace

TEST_CASE("feed: views made in device memory are the loader's, bit for bit, in both types and from any batch on") {
    const auto backend = make_cpu_backend();
    const Dataset dataset = test::noise_dataset(23);
    for (const int views : {1, 2})
        for (const bool augment : {true, false})
            for (const DType type : {DType::f32, DType::bf16}) {
                const LoaderOptions options{.batch_size = 5, .views = views, .seed = 11, .shuffle = augment, .augment = augment, .workers = 2};
                LoaderFeed loaded(*backend, dataset, options, DType::f32);
                ResidentFeed resident(*backend, dataset, options, type);
                CHECK(loaded.batches() == 5);
                CHECK(resident.batches() == 5);
                for (const std::uint32_t epoch : {1u, 2u})
                    for (const std::int64_t first : {0, 3}) {
                        Epoch expected = run_epoch(loaded, epoch, first);
                        if (type == DType::bf16) {  // rounded once
                            std::vector<bfloat16> rounded;
                            for (std::size_t i = 0; i < expected.images.size(); i += sizeof(float)) {
                                float value;
                                std::memcpy(&value, &expected.images[i], sizeof value);
                                rounded.emplace_back(value);
                            }
                            expected.images.assign(reinterpret_cast<std::uint8_t*>(rounded.data()),
                                                   reinterpret_cast<std::uint8_t*>(rounded.data() + rounded.size()));
                        }
                        CHECK(run_epoch(resident, epoch, first) == expected);
                    }
                CHECK((run_epoch(resident, 1) == run_epoch(resident, 2)) == !augment);
            }
}

TEST_CASE("feed: a batch that is given and not used is left out") {
    const auto backend = make_cpu_backend();
    const Dataset dataset = test::noise_dataset(11);
    const LoaderOptions options{.batch_size = 3, .views = 1, .seed = 4, .shuffle = true, .augment = true, .workers = 1};
    LoaderFeed loaded(*backend, dataset, options, DType::f32);
    ResidentFeed resident(*backend, dataset, options, DType::f32);
    for (BatchFeed* feed : {static_cast<BatchFeed*>(&loaded), static_cast<BatchFeed*>(&resident)}) {
        const Epoch whole = run_epoch(*feed, 3);
        feed->start_epoch(3);
        feed->next();
        feed->enqueue();
        feed->next();
        feed->next();
        feed->enqueue();
        Epoch third;
        append(third.targets, feed->target());
        append(third.images, feed->images());
        const std::size_t images = third.images.size(), labels = third.targets.size();
        CHECK(std::equal(third.images.begin(), third.images.end(), whole.images.begin() + static_cast<std::ptrdiff_t>(2 * images)));
        CHECK(std::equal(third.targets.begin(), third.targets.end(), whole.targets.begin() + static_cast<std::ptrdiff_t>(2 * labels)));
    }
}

TEST_CASE("feed: a dataset with a wrong label or options without sense are refused at once") {
    const auto backend = make_cpu_backend();
    Dataset dataset = test::noise_dataset(7);
    CHECK_THROWS_AS(ResidentFeed(*backend, dataset, {.batch_size = 0}, DType::f32), UsageError);
    CHECK_THROWS_AS(ResidentFeed(*backend, dataset, {.batch_size = 4, .views = 3}, DType::f32), UsageError);
    dataset.labels[5] = static_cast<std::int32_t>(dataset.classes);
    CHECK_THROWS_WITH_AS(ResidentFeed(*backend, dataset, {.batch_size = 4}, DType::f32), doctest::Contains("image 5 of"), Error);
}

TEST_SUITE("team") {
    TEST_CASE("feed: teams of threads make the batches that one thread makes, labels included, and move the place on") {
        const Dataset dataset = test::noise_dataset(7);
        const LoaderOptions options{.batch_size = 3, .views = 2, .seed = 5, .shuffle = true, .augment = true};
        test::RecordingBackend one, many(2, 5);
        ResidentFeed expected(one, dataset, options, DType::f32), feed(many, dataset, options, DType::f32);
        for (const std::uint32_t epoch : {1u, 2u}) CHECK(run_epoch(feed, epoch) == run_epoch(expected, epoch));
    }
}
