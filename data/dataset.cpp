#include "data/dataset.h"

#include <fmt/format.h>
#include <zlib.h>

#include <cmath>

#include "engine/error.h"

namespace mlkd {

std::uint32_t content_crc(const Dataset& dataset) {
    const auto* labels = reinterpret_cast<const Bytef*>(dataset.labels.data());
    const uLong of_labels = crc32_z(0, labels, dataset.labels.size() * sizeof dataset.labels[0]);
    return static_cast<std::uint32_t>(crc32_z(of_labels, dataset.images.data(), dataset.images.size()));
}

std::vector<float> normalisation_table(const Dataset& dataset) {
    std::vector<float> table(3 * 256);
    for (std::size_t channel = 0; channel < 3; ++channel)
        for (std::size_t value = 0; value < 256; ++value) {
            const double scaled = static_cast<double>(value) / 255.0;
            table[channel * 256 + value] =
                static_cast<float>((scaled - static_cast<double>(dataset.mean[channel])) / static_cast<double>(dataset.deviation[channel]));
            if (!std::isfinite(table[channel * 256 + value]))
                throw Error(fmt::format("data: {} cannot be normalised: its channel {} has mean {} and standard deviation {}", dataset.name,
                                        channel, dataset.mean[channel], dataset.deviation[channel]),
                            ExitCode::non_finite);
        }
    return table;
}

void Dataset::keep_first(std::int64_t count) {
    if (count >= size()) return;
    const std::size_t image_bytes = images.size() / labels.size();
    labels.resize(static_cast<std::size_t>(count));
    images.resize(labels.size() * image_bytes);
}

}  // namespace mlkd
