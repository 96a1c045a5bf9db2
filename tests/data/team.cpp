// The kernels of data/ under teams of threads: the same bytes as under one thread, and no race under ThreadSanitizer
// (tsan preset). Seen to catch one: without the sync() between counting and summing of equalize, tsan reports the race
// and the bytes differ.
#include <doctest/doctest.h>

#include <cstring>
#include <vector>

#include "data/views/augment_kernels.h"
#include "data/views/view_kernel.h"
#include "tests/data/images.h"
#include "tests/support/thread_team.h"

using namespace mlkd;

namespace {

// One operation on each of several images.
struct AugmentRows {
    std::uint8_t* out;
    const std::uint8_t* in;
    AugmentOp op;
    float magnitude;
    template <class Team> void operator()(const Team& team, std::int64_t row) const {
        apply_operation(team, out + row * image_bytes, in + row * image_bytes, op, magnitude, 20.5f, 3.25f,
                        *team.template scratch<AugmentScratch>());
    }
};

template <class Kernel> void run_serially(std::int64_t rows, const Kernel& kernel, std::size_t scratch_bytes) {
    std::vector<std::max_align_t> scratch(scratch_bytes / sizeof(std::max_align_t) + 1);
    const SerialTeam team(reinterpret_cast<unsigned char*>(scratch.data()));
    for (std::int64_t row = 0; row < rows; ++row) kernel(team, row);
}

}  // namespace

TEST_SUITE("team") {
    TEST_CASE("team: augmentation is the same for any team") {
        constexpr std::int64_t rows = 2 * test::contents;
        std::vector<std::uint8_t> in;
        for (int n = 0; n < rows; ++n) {
            const auto image = test::make_image(static_cast<test::Content>(n % test::contents), static_cast<std::uint32_t>(n));
            in.insert(in.end(), image.begin(), image.end());
        }
        for (int i = 0; i <= random_operations; ++i) {
            const auto op = static_cast<AugmentOp>(i);
            CAPTURE(name_of(op));
            const MagnitudeRange range = magnitude_range(op);
            const float magnitude = 0.3f * range.low + 0.7f * range.high;
            std::vector<std::uint8_t> serial(in.size(), 1), threaded(in.size(), 2);
            run_serially(rows, AugmentRows{serial.data(), in.data(), op, magnitude}, sizeof(AugmentScratch));
            for (const auto& [teams, size] : {std::pair{3, 2}, std::pair{2, 7}, std::pair{1, 29}}) {
                CAPTURE(size);
                std::fill(threaded.begin(), threaded.end(), std::uint8_t{2});
                for_each_row_with_threads(teams, size, rows, AugmentRows{threaded.data(), in.data(), op, magnitude},
                                          sizeof(AugmentScratch));
                CHECK(serial == threaded);
            }
            if (op != AugmentOp::equalize) continue;
            // As many members as its histograms and runs of values can be shared out among.
            constexpr std::int64_t few = 3;
            std::fill(threaded.begin(), threaded.end(), std::uint8_t{2});
            for_each_row_with_threads(1, 200, few, AugmentRows{threaded.data(), in.data(), op, magnitude}, sizeof(AugmentScratch));
            CHECK(std::equal(threaded.begin(), threaded.begin() + few * image_bytes, serial.begin()));
        }
    }

    TEST_CASE("team: views are the same for any team") {
        constexpr std::int64_t rows = 37;
        const Dataset dataset = test::noise_dataset(11);
        const std::vector<float> table = normalisation_table(dataset);
        std::vector<std::int64_t> index;
        for (std::int64_t r = 0; r < rows; ++r) index.push_back(r * 7 % dataset.size());
        for (const View view : {View::plain, View::weak, View::strong}) {
            CAPTURE(static_cast<int>(view));
            std::vector<float> serial(rows * image_bytes, -1.0f), threaded(rows * image_bytes, -2.0f);
            ViewKernel<float> kernel{serial.data(), {dataset.images.data(), table.data()}, index.data(), {view, 99, 4}};
            run_serially(rows, kernel, sizeof(ViewScratch));
            kernel.out = threaded.data();
            for (const auto& [teams, size] : {std::pair{3, 3}, std::pair{2, 5}}) {
                CAPTURE(size);
                std::fill(threaded.begin(), threaded.end(), -2.0f);
                for_each_row_with_threads(teams, size, rows, kernel, sizeof(ViewScratch));
                CHECK(std::memcmp(serial.data(), threaded.data(), serial.size() * sizeof(float)) == 0);
            }
        }
    }
}
