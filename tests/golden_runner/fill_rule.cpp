#include "fill_rule.h"

#include <zlib.h>

#include <cmath>
#include <cstring>

namespace mlkd::golden {
namespace {

// murmur3's 32-bit finaliser (Appleby).
std::uint32_t mix(std::uint32_t h) {
    h ^= h >> 16;
    h *= 0x85ebca6bu;
    h ^= h >> 13;
    h *= 0xc2b2ae35u;
    return h ^ (h >> 16);
}

std::vector<double> fill_values(const std::string& entry, const std::string& name, const std::vector<std::int64_t>& shape, std::size_t count) {
    const auto extent = [&](std::size_t axis) { return static_cast<double>(shape[axis]); };
    if (shape.size() == 4) return symmetric(name, count, std::sqrt(6.0 / (extent(0) * extent(2) * extent(3))));
    if (shape.size() == 2) return symmetric(name, count, 1.0 / std::sqrt(extent(1)));
    if (entry.ends_with("running_mean") || entry.ends_with("bias")) return symmetric(name, count, 0.1);
    const bool variance = entry.ends_with("running_var");
    std::vector<double> values = variance ? uniform(name, count) : symmetric(name, count, 0.1);
    for (double& value : values) value = 1.0 + (variance ? 0.2 : 1.0) * value;
    return values;
}

}  // namespace

std::vector<double> uniform(const std::string& name, std::size_t count) {
    const auto start = static_cast<std::uint32_t>(crc32(0, reinterpret_cast<const Bytef*>(name.data()), static_cast<uInt>(name.size())));
    std::vector<double> values(count);
    for (std::size_t i = 0; i < count; ++i) values[i] = mix(start + static_cast<std::uint32_t>(i)) / 4294967296.0;
    return values;
}

std::vector<double> symmetric(const std::string& name, std::size_t count, double scale) {
    std::vector<double> values = uniform(name, count);
    for (double& value : values) value = (2.0 * value - 1.0) * scale;
    return values;
}

std::map<std::string, HostTensor> filled_state(const std::map<std::string, HostTensor>& like, const std::string& tag) {
    std::map<std::string, HostTensor> state = like;
    for (auto& [entry, tensor] : state) {
        if (tensor.dtype != DType::f32) continue;  // the counter of batches
        const std::size_t count = tensor.bytes.size() / sizeof(float);
        const std::vector<double> values = fill_values(entry, tag + "/" + entry, tensor.shape, count);
        for (std::size_t i = 0; i < count; ++i) {
            const auto value = static_cast<float>(values[i]);
            std::memcpy(tensor.bytes.data() + i * sizeof(float), &value, sizeof(float));
        }
    }
    return state;
}

std::vector<float> filled_images(const std::string& name, std::int64_t batch) {
    constexpr std::int64_t side = 32, channels = 3;
    const std::vector<double> nchw = symmetric(name, static_cast<std::size_t>(batch * channels * side * side), 2.0);
    std::vector<float> nhwc(nchw.size());
    for (std::int64_t n = 0; n < batch; ++n)
        for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t p = 0; p < side * side; ++p)
                nhwc[static_cast<std::size_t>((n * side * side + p) * channels + c)] =
                    static_cast<float>(nchw[static_cast<std::size_t>((n * channels + c) * side * side + p)]);
    return nhwc;
}

}  // namespace mlkd::golden
