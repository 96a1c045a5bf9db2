#include "data/feeds/loader.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <numeric>
#include <thread>

#include "data/views/views.h"
#include "tests/data/images.h"

using namespace mlkd;

namespace {

// An epoch as it came: everything of its batches, one after another.
struct Epoch {
    std::vector<std::int64_t> sizes, indices;
    std::vector<std::int32_t> labels;
    std::vector<float> images;
    bool operator==(const Epoch&) const = default;
};

Epoch run_epoch(Loader& loader, std::uint32_t epoch, std::int64_t first_batch = 0) {
    Epoch all;
    loader.start_epoch(epoch, first_batch);
    while (const Batch* batch = loader.next()) {
        all.sizes.push_back(batch->size);
        all.indices.insert(all.indices.end(), batch->indices.begin(), batch->indices.end());
        all.labels.insert(all.labels.end(), batch->labels.begin(), batch->labels.end());
        const float* values = batch->images.as<float>();
        all.images.insert(all.images.end(), values, values + batch->images.elements());
    }
    CHECK(loader.next() == nullptr);
    return all;
}

Epoch run_epoch(const Dataset& dataset, const LoaderOptions& options, std::uint32_t epoch, std::int64_t first_batch = 0) {
    Loader loader(dataset, options);
    return run_epoch(loader, epoch, first_batch);
}

constexpr LoaderOptions training{.batch_size = 8, .views = 2, .seed = 7, .shuffle = true, .augment = true, .workers = 1};

}  // namespace

TEST_CASE("loader: training gives every image once, in an order of the seed and the epoch alone") {
    const Dataset dataset = test::noise_dataset(43);
    Loader loader(dataset, training);
    CHECK(loader.batches() == 6);
    const Epoch first = run_epoch(loader, 1);
    CHECK(first.sizes == std::vector<std::int64_t>{8, 8, 8, 8, 8, 3});
    CHECK(first.images.size() == 2 * 43 * image_bytes);
    std::vector<std::int64_t> sorted = first.indices, all(43);
    std::sort(sorted.begin(), sorted.end());
    std::iota(all.begin(), all.end(), 0);
    CHECK(sorted == all);
    CHECK(first.indices != all);
    for (std::size_t i = 0; i < 43; ++i) CHECK(first.labels[i] == dataset.labels[static_cast<std::size_t>(first.indices[i])]);

    const Epoch second = run_epoch(loader, 2);
    CHECK(second.indices != first.indices);
    CHECK(run_epoch(loader, 1) == first);
    CHECK(run_epoch(dataset, training, 2) == second);
    LoaderOptions other = training;
    other.seed = 8;
    CHECK(run_epoch(dataset, other, 1).indices != first.indices);
    other = training;
    other.batch_size = 5;
    CHECK(run_epoch(dataset, other, 1).indices == first.indices);
}

TEST_CASE("loader: weak views come first, each the view of its image") {
    const Dataset dataset = test::noise_dataset(13);
    const std::vector<float> table = normalisation_table(dataset);
    Loader loader(dataset, training);
    loader.start_epoch(5);
    while (const Batch* batch = loader.next()) {
        const Shape half{batch->size, 32, 32, 3};
        REQUIRE(batch->images.shape == Shape{2 * batch->size, 32, 32, 3});
        CHECK(reinterpret_cast<std::uintptr_t>(batch->images.data) % 64 == 0);
        std::vector<float> expected(static_cast<std::size_t>(half.elements()));
        for (const View view : {View::weak, View::strong}) {
            make_views_on_this_thread(view_of(expected.data(), half), view_of(dataset.images.data(), Shape{13, 32, 32, 3}),
                                      view_of(batch->indices.data(), Shape{batch->size}), view_of(table.data(), Shape{3, 256}),
                                      {view, 7, 5});
            const Tensor rows = batch->images.slice(view == View::weak ? 0 : batch->size, batch->size);
            CHECK(std::memcmp(rows.data, expected.data(), rows.bytes()) == 0);
        }
    }
}

TEST_CASE("loader: evaluation gives each image once, in order, as it is") {
    const Dataset dataset = test::noise_dataset(21);
    const Epoch epoch = run_epoch(dataset, {.batch_size = 10}, 0);
    CHECK(epoch.sizes == std::vector<std::int64_t>{10, 10, 1});
    CHECK(epoch.labels == dataset.labels);
    const std::vector<float> table = normalisation_table(dataset);
    for (std::size_t i = 0; i < dataset.images.size(); ++i) REQUIRE(epoch.images[i] == table[i % 3 * 256 + dataset.images[i]]);
}

TEST_CASE("loader: an epoch taken up in its middle equals the uninterrupted one") {
    const Dataset dataset = test::noise_dataset(30);
    const Epoch whole = run_epoch(dataset, training, 9);
    for (const std::int64_t first : {1, 3, 4}) {
        const Epoch rest = run_epoch(dataset, training, 9, first);
        const auto images = static_cast<std::size_t>(std::min<std::int64_t>(8 * first, 30));
        CHECK(rest.indices == std::vector<std::int64_t>(whole.indices.begin() + static_cast<std::ptrdiff_t>(images), whole.indices.end()));
        REQUIRE(rest.images.size() == (30 - images) * 2 * image_bytes);
        CHECK(std::equal(rest.images.begin(), rest.images.end(), whole.images.end() - static_cast<std::ptrdiff_t>(rest.images.size())));
    }
}

TEST_CASE("loader: workers change nothing") {
    const Dataset dataset = test::noise_dataset(101);
    const Epoch one = run_epoch(dataset, training, 3);
    for (const int workers : {2, 5}) {
        LoaderOptions options = training;
        options.workers = workers;
        CHECK(run_epoch(dataset, options, 3) == one);
    }
}

TEST_CASE("loader: a batch stays as it is until the next call, however far the workers run ahead") {
    const Dataset dataset = test::noise_dataset(64);
    LoaderOptions options = training;
    options.batch_size = 4;
    options.workers = 3;
    Loader loader(dataset, options);
    loader.start_epoch(0);
    while (const Batch* batch = loader.next()) {
        const float* values = batch->images.as<float>();
        const std::vector<float> before(values, values + batch->images.elements());
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
        CHECK(std::equal(before.begin(), before.end(), values));
    }
}

TEST_CASE("loader: can be left, restarted and destroyed at any time") {
    const Dataset dataset = test::noise_dataset(50);
    LoaderOptions options = training;
    options.workers = 2;
    { const Loader never_started(dataset, options); }
    const Epoch whole = run_epoch(dataset, options, 4);
    for (int taken = 0; taken < 8; ++taken) {
        Loader loader(dataset, options);
        loader.start_epoch(1);
        for (int b = 0; b < taken; ++b) loader.next();
        CHECK(run_epoch(loader, 4) == whole);
        loader.start_epoch(2);
        for (int b = 0; b < taken; ++b) loader.next();
    }
}

TEST_CASE("loader: what fails in the background reaches next()") {
    Dataset dataset = test::noise_dataset(20);
    dataset.labels[13] = 5;
    LoaderOptions options{.batch_size = 6};
    for (const int workers : {1, 2}) {
        options.workers = workers;
        Loader loader(dataset, options);
        loader.start_epoch(0);
        CHECK(loader.next() != nullptr);
        CHECK(loader.next() != nullptr);
        for (int again = 0; again < 2; ++again)
            CHECK(test::error_of([&] { loader.next(); }) == "data: image 13 of noise has label 5, but there are 5 classes");
    }
}

TEST_CASE("loader: waiting is measured, and an empty epoch ends at once") {
    const Dataset dataset = test::noise_dataset(40);
    Loader loader(dataset, training);
    loader.start_epoch(0);
    CHECK(loader.wait_seconds() == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));  // the first batches are ready then
    loader.next();
    CHECK(loader.wait_seconds() < 0.1);
    loader.start_epoch(1, loader.batches());
    CHECK(loader.next() == nullptr);
    const Dataset none = test::noise_dataset(0);
    Loader nothing(none, training);
    CHECK(nothing.batches() == 0);
    nothing.start_epoch(0);
    CHECK(nothing.next() == nullptr);
}

TEST_CASE("loader: options without sense") {
    Dataset dataset = test::noise_dataset(4);
    const auto refusal = [&](const LoaderOptions& options) { return test::error_of([&] { Loader(dataset, options); }); };
    CHECK(test::contains(refusal({.batch_size = 0}), "batch size 0"));
    CHECK(test::contains(refusal({.batch_size = -3}), "batch size -3"));
    CHECK(test::contains(refusal({.views = 3}), "3 views"));
    CHECK(test::contains(refusal({.workers = 0}), "0 workers"));
    CHECK(refusal({.batch_size = std::int64_t{1} << 60}).empty());  // one batch with all images
    dataset.labels.pop_back();
    CHECK(test::contains(refusal({}), "differ in number"));
    const Dataset none = test::noise_dataset(0);
    Loader loader(none, {});
    CHECK(test::contains(test::error_of([&] { loader.next(); }), "before start_epoch"));
    CHECK(test::contains(test::error_of([&] { loader.start_epoch(0, 1); }), "behind its end"));
}
