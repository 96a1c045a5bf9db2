#include "data/dataset.h"

namespace mlkd {

std::vector<float> normalisation_table(const Dataset& dataset) {
    std::vector<float> table(3 * 256);
    for (std::size_t channel = 0; channel < 3; ++channel)
        for (std::size_t value = 0; value < 256; ++value) {
            const double scaled = static_cast<double>(value) / 255.0;
            table[channel * 256 + value] =
                static_cast<float>((scaled - static_cast<double>(dataset.mean[channel])) / static_cast<double>(dataset.deviation[channel]));
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
