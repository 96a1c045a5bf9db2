#include "cases.h"
#include "data/views/augment.h"

namespace mlkd::golden {

Report run_augment_case(const SafetensorsFile& file) {
    const AugmentOp op = parse_augment_op(file.meta("op"));
    const auto images = file.tensor("images").as<std::uint8_t>();
    const auto magnitudes = file.tensor("magnitude").as<float>();
    const auto expected = file.tensor("expected").as<std::uint8_t>();
    constexpr std::size_t image_bytes = 32 * 32 * 3;
    std::vector<std::uint8_t> got(images.size(), 0xA5);
    for (std::size_t n = 0; n < magnitudes.size(); ++n) {
        float centre_x = 0, centre_y = 0;
        if (file.tensors.contains("centre")) {
            const auto centre = file.tensor("centre").as<float>();
            centre_x = centre[2 * n];
            centre_y = centre[2 * n + 1];
        }
        augment_image(got.data() + n * image_bytes, images.data() + n * image_bytes, op, magnitudes[n], centre_x, centre_y);
    }
    Report report;
    report.compare_exactly(file.meta("op"), got, {expected.begin(), expected.end()});
    return report;
}

}  // namespace mlkd::golden
