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

}  // namespace mlkd
