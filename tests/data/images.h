#pragma once
// Images and datasets for the tests of data/.
#include <cstdint>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/image.h"
#include "engine/error.h"
#include "engine/kernels/philox.h"

namespace mlkd::test {

enum class Content { noise, narrow, two_values, flat, ramp };
inline constexpr int contents = 5;

// Images that push on different corners: noise over all bytes, a narrow histogram, one rare value, none but one, a ramp.
inline std::vector<std::uint8_t> make_image(Content content, std::uint32_t sample) {
    std::vector<std::uint8_t> image(image_bytes);
    RandomSequence random(11, Purpose::test, static_cast<std::uint32_t>(content), sample);
    const std::uint32_t base = random.below(200);
    for (std::size_t i = 0; i < image.size(); ++i) {
        std::uint32_t value = 0;
        switch (content) {
            case Content::noise: value = random.below(256); break;
            case Content::narrow: value = base + random.below(56); break;
            case Content::two_values: value = random.below(300) == 0 ? base + 55 : base; break;
            case Content::flat: value = base + static_cast<std::uint32_t>(i % 3) * 20; break;
            case Content::ramp: value = static_cast<std::uint32_t>(i / 3 % 32 * 8 + i % 3); break;
        }
        image[i] = static_cast<std::uint8_t>(value);
    }
    return image;
}

// Images of noise; labels n mod classes.
inline Dataset noise_dataset(std::int64_t images, std::int64_t classes = 5) {
    Dataset dataset;
    dataset.name = "noise";
    dataset.classes = classes;
    dataset.mean = {0.5f, 0.4f, 0.3f};
    dataset.deviation = {0.2f, 0.3f, 0.25f};
    for (std::int64_t n = 0; n < images; ++n) {
        const std::vector<std::uint8_t> image = make_image(Content::noise, static_cast<std::uint32_t>(n));
        dataset.images.insert(dataset.images.end(), image.begin(), image.end());
        dataset.labels.push_back(static_cast<std::int32_t>(n % classes));
    }
    for (std::int64_t c = 0; c < classes; ++c) dataset.class_names.push_back("class " + std::to_string(c));
    return dataset;
}

// What `call` throws, or "" when it throws nothing; a message must be one line.
template <class Call> std::string error_of(const Call& call) {
    try {
        call();
    } catch (const Error& error) {
        const std::string message = error.what();
        return message.find('\n') == std::string::npos ? message : "several lines: " + message;
    }
    return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace mlkd::test
