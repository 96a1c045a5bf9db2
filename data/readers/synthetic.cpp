#include "data/image.h"
#include "data/readers/load.h"
#include "engine/error.h"
#include "engine/kernels/philox.h"
#include "engine/machine/available_memory.h"

namespace mlkd {

// Class c is a 4 × 4 grid of colours, symmetric left to right so that a flip keeps it; an image adds a brightness of its
// own and noise to every byte.
Dataset make_synthetic(std::int64_t images, std::int64_t classes, Split split) {
    MLKD_CHECK(images >= 1 && classes >= 1, "synthetic data: needs at least one image and one class");
    constexpr std::uint64_t seed = 0;
    constexpr std::uint32_t of_classes = 0, of_train = 1, of_test = 2;  // in the place of the epoch
    constexpr int grid = 4, cell = image_side / grid;
    Dataset dataset;
    dataset.name = "synthetic";
    dataset.classes = classes;
    dataset.mean.fill(0.5f);
    dataset.deviation.fill(0.25f);
    std::vector<int> colours(static_cast<std::size_t>(classes) * grid * grid * image_channels);  // (classes, 4, 4, 3)
    for (std::int64_t c = 0; c < classes; ++c) {
        dataset.class_names.push_back(std::to_string(c));
        RandomSequence random(seed, Purpose::synthetic, of_classes, static_cast<std::uint32_t>(c));
        for (int i = 0; i < grid * grid * image_channels; ++i)
            colours[static_cast<std::size_t>(c * grid * grid * image_channels + i)] = 68 + static_cast<int>(random.below(120));
    }
    require_memory(static_cast<std::uint64_t>(images) * image_bytes);
    dataset.images.resize(static_cast<std::size_t>(images) * image_bytes);
    for (std::int64_t n = 0; n < images; ++n) {
        const std::int64_t label = n % classes;
        dataset.labels.push_back(static_cast<std::int32_t>(label));
        const int* colour = colours.data() + label * grid * grid * image_channels;
        RandomSequence random(seed, Purpose::synthetic, split == Split::train ? of_train : of_test, static_cast<std::uint32_t>(n));
        const int brightness = static_cast<int>(random.below(41)) - 20;
        std::uint8_t* image = dataset.images.data() + static_cast<std::size_t>(n) * image_bytes;
        for (int i = 0; i < image_bytes; ++i) {
            const int pixel = i / image_channels, x = pixel % image_side, y = pixel / image_side;
            const int mirrored = x < image_side / 2 ? x : image_side - 1 - x;
            const int at = (y / cell * grid + mirrored / (cell / 2)) * image_channels + i % image_channels;
            const int noise = static_cast<int>(random.below(95)) - 47;
            image[i] = static_cast<std::uint8_t>(colour[at] + brightness + noise);  // 1 .. 254
        }
    }
    return dataset;
}

}  // namespace mlkd
