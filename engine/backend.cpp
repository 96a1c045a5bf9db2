#include "engine/backend.h"

#include "engine/error.h"

namespace mlkd {

Shape convolution_output_shape(const Shape& x, const Shape& w, const Convolution& convolution) {
    MLKD_CHECK(x.rank() == 4 && w.rank() == 4 && x[3] == w[3],
               "convolution: input " + x.text() + " and filter " + w.text() + " do not fit");
    MLKD_CHECK(convolution.stride > 0 && convolution.padding >= 0, "convolution: stride or padding is impossible");
    const auto extent = [&](std::int64_t in, std::int64_t filter) {
        const std::int64_t padded = in + 2 * convolution.padding - filter;
        MLKD_CHECK(padded >= 0, "convolution: filter " + w.text() + " is larger than the padded input " + x.text());
        return padded / convolution.stride + 1;
    };
    return Shape{x[0], extent(x[1], w[1]), extent(x[2], w[2]), w[0]};
}

std::unique_ptr<Recording> Backend::record(const std::function<void()>&) { return nullptr; }

}  // namespace mlkd
