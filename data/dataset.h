#pragma once
// A labelled set of images in host memory, and what is needed to normalise it.
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace mlkd {

enum class Split { train, test };

struct Dataset {
    std::string name;                      // "cifar100"
    std::int64_t classes = 0;
    std::vector<std::uint8_t> images;      // (N, 32, 32, 3)
    std::vector<std::int32_t> labels;      // (N), each in [0, classes)
    std::vector<std::string> class_names;  // (classes)
    std::array<float, 3> mean{};           // of each channel, on a scale where 255 is 1
    std::array<float, 3> deviation{};

    std::int64_t size() const { return static_cast<std::int64_t>(labels.size()); }
    void keep_first(std::int64_t count);  // images; no effect where there are no more
};

// CRC-32 of labels and images in their order: what the set is, wherever it lies and whatever it is called.
std::uint32_t content_crc(const Dataset& dataset);

// (3, 256): entry [c][v] = (v / 255 - mean[c]) / deviation[c], what a byte v of channel c becomes as a network's input.
// Throws Error with ExitCode::non_finite where an entry is not finite.
std::vector<float> normalisation_table(const Dataset& dataset);

}  // namespace mlkd
