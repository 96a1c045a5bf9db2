#include "data/views/views.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <map>
#include <numeric>
#include <tuple>

#include "data/views/augment.h"
#include "tests/data/images.h"

using namespace mlkd;

namespace {

constexpr float poison = -777.0f;

std::vector<float> views_of(const Dataset& dataset, std::vector<std::int64_t> index, const ViewParameters& parameters,
                            bool all_threads = false) {
    const auto rows = static_cast<std::int64_t>(index.size());
    std::vector<float> out(index.size() * image_bytes + 16, poison);
    std::vector<float> table = normalisation_table(dataset);
    const Tensor to = view_of(out.data(), Shape{rows, 32, 32, 3});
    const Tensor images = view_of(dataset.images.data(), Shape{dataset.size(), 32, 32, 3});
    if (all_threads)
        make_views(Stream{}, to, images, view_of(index.data(), Shape{rows}), view_of(table.data(), Shape{3, 256}), parameters);
    else
        make_views_on_this_thread(to, images, view_of(index.data(), Shape{rows}), view_of(table.data(), Shape{3, 256}), parameters);
    for (std::size_t i = index.size() * image_bytes; i < out.size(); ++i) CHECK(out[i] == poison);
    out.resize(index.size() * image_bytes);
    return out;
}

// An image as bytes, cropped at (shift_x - 4, shift_y - 4) of itself and then mirrored: by padding first and copying after.
std::vector<std::uint8_t> naive_crop_flip(const std::uint8_t* image, int left, int top, bool flip) {
    std::vector<std::uint8_t> padded(40 * 40 * 3, 0), out(image_bytes);
    for (int y = 0; y < 32; ++y) std::memcpy(&padded[static_cast<std::size_t>(((y + 4) * 40 + 4) * 3)], image + y * 96, 96);
    for (int y = 0; y < 32; ++y)
        for (int x = 0; x < 32; ++x)
            for (int c = 0; c < 3; ++c)
                out[static_cast<std::size_t>((y * 32 + (flip ? 31 - x : x)) * 3 + c)] =
                    padded[static_cast<std::size_t>(((y + top) * 40 + x + left) * 3 + c)];
    return out;
}

double normalised(const Dataset& dataset, std::uint8_t value, std::size_t channel) {
    return (value / 255.0 - double{dataset.mean[channel]}) / double{dataset.deviation[channel]};
}

// Largest difference of a view to bytes normalised in double.
double difference(const Dataset& dataset, const float* view, const std::vector<std::uint8_t>& bytes) {
    double largest = 0;
    for (std::size_t i = 0; i < bytes.size(); ++i)
        largest = std::max(largest, std::abs(double{view[i]} - normalised(dataset, bytes[i], i % 3)));
    return largest;
}

constexpr double float_rounding = 1e-6;  // values are below 4

}  // namespace

TEST_CASE("views: plain is normalisation alone") {
    const Dataset dataset = test::noise_dataset(5);
    const std::vector<float> out = views_of(dataset, {4, 0, 3}, {View::plain, 1, 2});
    int row = 0;
    for (const int n : {4, 0, 3}) {
        const std::uint8_t* image = dataset.images.data() + n * image_bytes;
        CHECK(difference(dataset, out.data() + row++ * image_bytes, {image, image + image_bytes}) < float_rounding);
    }
}

TEST_CASE("views: weak and strong against naive ones of the same draws") {
    const Dataset dataset = test::noise_dataset(23);
    std::vector<std::int64_t> index;
    for (std::int64_t n = 0; n < 200; ++n) index.push_back(n * 5 % dataset.size());
    for (const std::uint32_t epoch : {0u, 1u, 77u})
        for (const View view : {View::weak, View::strong}) {
            const std::vector<float> out = views_of(dataset, index, {view, 0x123456789abcull, epoch});
            for (std::size_t row = 0; row < index.size(); ++row) {
                // The draws in their order: crop x, crop y, flip; then operation and magnitude twice; the cutout's side and centre.
                RandomSequence random(0x123456789abcull, view == View::weak ? Purpose::weak_view : Purpose::strong_view, epoch,
                                      static_cast<std::uint32_t>(index[row]));
                const auto left = static_cast<int>(random.below(9)), top = static_cast<int>(random.below(9));
                const bool flip = random.below(2) == 1;
                std::vector<std::uint8_t> image = naive_crop_flip(dataset.images.data() + index[row] * image_bytes, left, top, flip),
                                          other(image_bytes);
                for (int k = 0; view == View::strong && k < 3; ++k) {
                    const AugmentOp op = k < 2 ? static_cast<AugmentOp>(random.below(14)) : AugmentOp::cutout;
                    const MagnitudeRange range = magnitude_range(op);
                    const float magnitude = range.low + (range.high - range.low) * random.uniform();
                    const float x = k < 2 ? 0 : 32 * random.uniform(), y = k < 2 ? 0 : 32 * random.uniform();
                    augment_image(other.data(), image.data(), op, magnitude, x, y);
                    image.swap(other);
                }
                REQUIRE(difference(dataset, out.data() + row * image_bytes, image) < float_rounding);
            }
        }
}

// Each pixel tells where it was: crops and flips can be read off a view, whatever the order of the draws.
TEST_CASE("views: crops and flips are uniform, and differ from epoch to epoch, image to image and seed to seed") {
    Dataset dataset = test::noise_dataset(1);
    dataset.mean.fill(0);
    dataset.deviation.fill(1);
    for (int y = 0; y < 32; ++y)
        for (int x = 0; x < 32; ++x) {
            std::uint8_t* pixel = dataset.images.data() + (y * 32 + x) * 3;
            pixel[0] = static_cast<std::uint8_t>(x), pixel[1] = static_cast<std::uint8_t>(y), pixel[2] = 255;
        }
    std::map<std::tuple<int, int, bool>, int> seen;
    constexpr int draws = 162 * 60;
    for (std::uint32_t epoch = 0; epoch < draws; ++epoch) {
        const std::vector<float> view = views_of(dataset, {0}, {View::weak, 3, epoch});
        const float* middle = &view[(16 * 32 + 16) * 3];  // inside for every crop
        REQUIRE(middle[2] == 1.0f);
        const int x = static_cast<int>(std::lround(middle[0] * 255)), y = static_cast<int>(std::lround(middle[1] * 255));
        const bool flip = middle[3] < middle[0];
        ++seen[{flip ? x - 15 : x - 16, y - 16, flip}];
    }
    CHECK(seen.size() == 162);  // 9 · 9 · 2
    double chi_squared = 0;
    for (const auto& [key, count] : seen) {
        CHECK(std::abs(std::get<0>(key)) <= 4);
        CHECK(std::abs(std::get<1>(key)) <= 4);
        chi_squared += (count - 60.0) * (count - 60.0) / 60.0;
    }
    CHECK(chi_squared < 230);  // 161 degrees of freedom: mean 161, deviation 18; exceeded by chance once in 3000

    const Dataset noise = test::noise_dataset(9);
    for (const View view : {View::weak, View::strong}) {
        CHECK(views_of(noise, {1}, {view, 3, 0}) == views_of(noise, {1}, {view, 3, 0}));
        int same = 0;
        for (std::uint32_t epoch = 0; epoch < 20; ++epoch) {
            same += views_of(noise, {1}, {view, 3, epoch}) == views_of(noise, {1}, {view, 4, epoch});
            same += views_of(noise, {1}, {view, 3, epoch}) == views_of(noise, {1}, {view, 3, epoch + 1});
        }
        CHECK(same < 5);  // by chance one in 162
    }
}

TEST_CASE("views: an image's view does not depend on its batch nor on the threads") {
    const Dataset dataset = test::noise_dataset(13);
    for (const View view : {View::weak, View::strong}) {
        const std::vector<float> batch = views_of(dataset, {3, 12, 0, 7, 3}, {view, 42, 6}, true);
        const std::vector<float> others = views_of(dataset, {7, 11}, {view, 42, 6});
        CHECK(std::memcmp(&batch[3 * image_bytes], &others[0], image_bytes * sizeof(float)) == 0);
        CHECK(std::memcmp(&batch[0], &batch[4 * image_bytes], image_bytes * sizeof(float)) == 0);
        CHECK(batch == views_of(dataset, {3, 12, 0, 7, 3}, {view, 42, 6}));
    }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
// The requirement. 7 to 10 µs were measured on one core of an AMD EPYC; the best of several runs counts, as others may share it.
TEST_CASE("views: both views of an image take less than 25 µs on one core") {
    const Dataset dataset = test::noise_dataset(64);
    std::vector<std::int64_t> index(64);
    std::iota(index.begin(), index.end(), 0);
    std::vector<float> out(64 * image_bytes);
    const std::vector<float> table = normalisation_table(dataset);
    double best = 1e9;
    for (int run = 0; run < 20; ++run) {
        const auto start = std::chrono::steady_clock::now();
        for (std::uint32_t epoch = 0; epoch < 10; ++epoch)
            for (const View view : {View::weak, View::strong})
                make_views_on_this_thread(view_of(out.data(), Shape{64, 32, 32, 3}), view_of(dataset.images.data(), Shape{64, 32, 32, 3}),
                                          view_of(index.data(), Shape{64}), view_of(table.data(), Shape{3, 256}), {view, 1, epoch});
        best = std::min(best, std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count() / (10 * 64));
    }
    MESSAGE("both views: " << best << " µs an image");
    CHECK(best < 25);
}
#endif

TEST_CASE("views: shapes that do not fit are refused") {
    const Dataset dataset = test::noise_dataset(3);
    std::vector<float> out(2 * image_bytes), table = normalisation_table(dataset);
    std::vector<std::int64_t> index{0, 1};
    const Tensor images = view_of(dataset.images.data(), Shape{3, 32, 32, 3});
    const Tensor to = view_of(out.data(), Shape{2, 32, 32, 3}), which = view_of(index.data(), Shape{2}),
                 by = view_of(table.data(), Shape{3, 256});
    const auto refused = [](const auto& call) { return test::contains(test::error_of(call), "views: "); };
    CHECK(refused([&] { make_views_on_this_thread(to.reshaped(Shape{2, 3, 32, 32}), images, which, by, {}); }));
    CHECK(refused([&] { make_views_on_this_thread(to, images.reshaped(Shape{3, 3072}), which, by, {}); }));
    CHECK(refused([&] { make_views_on_this_thread(to, images, which.slice(0, 1), by, {}); }));
    CHECK(refused([&] { make_views(Stream{}, to, images, which, by.reshaped(Shape{256, 3}), {}); }));
}
