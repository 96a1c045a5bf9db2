#include "data/views/augment.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <set>

#include "engine/files/safetensors.h"
#include "tests/data/images.h"
#include "tests/support/sources.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using test::Content;

namespace {

// One image with sentinels around it and a poisoned inside.
class OutputImage {
public:
    explicit OutputImage(std::uint8_t poison) : bytes_(image_bytes + 2 * margin, poison), poison_(poison) {}
    std::uint8_t* data() { return bytes_.data() + margin; }
    bool margins_intact() const {
        return std::all_of(bytes_.begin(), bytes_.begin() + margin, [&](auto b) { return b == poison_; }) &&
               std::all_of(bytes_.end() - margin, bytes_.end(), [&](auto b) { return b == poison_; });
    }

private:
    static constexpr int margin = 64;
    std::vector<std::uint8_t> bytes_;
    std::uint8_t poison_;
};

// Bytes that differ from `expected`, with two different poisons before the call, so that no unwritten byte passes.
int differing_bytes(const std::uint8_t* expected, const std::uint8_t* in, AugmentOp op, float magnitude, float x, float y) {
    int differing = 0;
    for (const int poison : {0xa5, 0x5a}) {
        OutputImage out(static_cast<std::uint8_t>(poison));
        augment_image(out.data(), in, op, magnitude, x, y);
        for (int i = 0; i < image_bytes; ++i) differing += out.data()[i] != expected[i];
        differing += !out.margins_intact();
    }
    return differing;
}

}  // namespace

TEST_CASE("augment: every reference case, byte for byte") {
    std::set<std::string> operations;
    for (const auto& entry : std::filesystem::directory_iterator(test::reference_values())) {
        if (!entry.path().filename().string().starts_with("augment-")) continue;
        CAPTURE(entry.path().filename().string());
        const SafetensorsFile file = read_safetensors(entry.path().string());
        const AugmentOp op = parse_augment_op(file.meta("op"));
        operations.insert(file.meta("op"));
        if (file.metadata.count("low") != 0) {
            CHECK(magnitude_range(op).low == std::stof(file.meta("low")));
            CHECK(magnitude_range(op).high == std::stof(file.meta("high")));
        }
        const auto images = file.tensor("images").as<std::uint8_t>(), expected = file.tensor("expected").as<std::uint8_t>();
        const auto magnitude = file.tensor("magnitude").as<float>();
        for (std::size_t n = 0; n < magnitude.size(); ++n) {
            CAPTURE(n);
            const bool has_centre = file.tensors.count("centre") != 0;
            const float x = has_centre ? file.tensor("centre").as<float>()[2 * n] : 0;
            const float y = has_centre ? file.tensor("centre").as<float>()[2 * n + 1] : 0;
            CHECK(differing_bytes(&expected[n * image_bytes], &images[n * image_bytes], op, magnitude[n], x, y) == 0);
        }
    }
    CHECK(operations.size() == 15);
}

// Random and extreme magnitudes on images of every content, against the Pillow of this machine.
TEST_CASE("augment: equal to Pillow 9.4 where it is installed") {
    struct Case {
        std::int32_t op;
        float magnitude, x, y;
    };
    std::vector<Case> cases;
    std::vector<std::uint8_t> images;
    RandomSequence random(5, Purpose::test, 0, 0);
    for (int i = 0; i <= random_operations; ++i)
        for (int n = 0; n < 75; ++n) {
            const MagnitudeRange range = magnitude_range(static_cast<AugmentOp>(i));
            float magnitude =
                range.low + (range.high - range.low) * (n % 3 == 0 ? static_cast<float>(random.below(33)) / 32 : random.uniform());
            if (n < 6) magnitude = n % 2 == 0 ? range.low : range.high;
            if (n >= 6 && n < 12) magnitude = n % 2 == 0 ? std::nextafter(range.low, 1e9f) : std::nextafter(range.high, -1e9f);
            if (n == 12) magnitude = (range.low + range.high) / 2;  // 0 for the symmetric ranges
            magnitude = std::clamp(magnitude, range.low, range.high);
            cases.push_back({i, magnitude, 32 * random.uniform(), n % 4 == 0 ? 0 : 32 * random.uniform()});
            const std::vector<std::uint8_t> image = test::make_image(static_cast<Content>(n % test::contents), random.bits());
            images.insert(images.end(), image.begin(), image.end());
        }
    const test::TemporaryFolder folder;
    test::write_bytes(folder / "cases", {reinterpret_cast<const char*>(cases.data()), cases.size() * sizeof(Case)});
    test::write_bytes(folder / "images", {reinterpret_cast<const char*>(images.data()), images.size()});
    const std::filesystem::path root = test::sources();
    std::string names;
    for (int i = 0; i <= random_operations; ++i) names += std::string(i ? "," : "") + name_of(static_cast<AugmentOp>(i));
    const std::string command =
        "/usr/bin/python3 " + (root / "tests/data/pillow_operations.py").string() + " " + folder.path() + " " + names;
    if (std::system(command.c_str()) != 0) {
        MESSAGE("skipped: /usr/bin/python3 has no NumPy with Pillow 9.4");
        return;
    }
    const std::string expected = test::read_bytes(folder / "expected");
    REQUIRE(expected.size() == images.size());
    for (std::size_t n = 0; n < cases.size(); ++n) {
        const auto op = static_cast<AugmentOp>(cases[n].op);
        CAPTURE(name_of(op));
        CAPTURE(cases[n].magnitude);
        CAPTURE(n);
        CHECK(differing_bytes(reinterpret_cast<const std::uint8_t*>(expected.data()) + n * image_bytes, &images[n * image_bytes], op,
                              cases[n].magnitude, cases[n].x, cases[n].y) == 0);
    }
}

TEST_CASE("augment: names and ranges") {
    for (int i = 0; i <= random_operations; ++i) CHECK(parse_augment_op(name_of(static_cast<AugmentOp>(i))) == static_cast<AugmentOp>(i));
    CHECK(test::contains(test::error_of([] { parse_augment_op("invert"); }), "'invert'"));
    const std::vector<std::uint8_t> image = test::make_image(Content::noise, 0);
    std::vector<std::uint8_t> out(image_bytes);
    for (const float magnitude : {-31.0f, 30.5f, std::nanf(""), INFINITY})
        CHECK(test::contains(test::error_of([&] { augment_image(out.data(), image.data(), AugmentOp::rotate, magnitude); }),
                             "outside its range"));
    CHECK(test::contains(test::error_of([&] { augment_image(out.data(), image.data(), AugmentOp::posterize, 9); }), "posterize"));
}
