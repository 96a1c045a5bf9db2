#include "data/views.h"

#include "data/view_kernel.h"
#include "engine/dispatch.h"
#include "engine/error.h"

namespace mlkd {

namespace {

constexpr RowLaunch one_view{.scratch_bytes = sizeof(ViewScratch), .team_size = 256};

// Calls use(kernel) with the kernel for the type of `out`.
template <class Use>
void with_checked_kernel(const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                         const ViewParameters& parameters, const EpochPosition* position, const Use& use) {
    const auto is_images = [](const Tensor& tensor) {
        return tensor.shape.rank() == 4 && tensor.shape == Shape{tensor.dim(0), image_side, image_side, image_channels};
    };
    MLKD_CHECK(is_images(out) && is_images(images),
               "views: " + out.shape.text() + " from " + images.shape.text() + ", not 32 x 32 x 3 both");
    MLKD_CHECK(index.shape.rank() == 1 && (position != nullptr ? index.dim(0) >= out.dim(0) : index.dim(0) == out.dim(0)),
               "views: " + index.shape.text() + " indices for " + out.shape.text());
    MLKD_CHECK((normalisation.shape == Shape{image_channels, 256}), "views: normalisation table of shape " + normalisation.shape.text());
    const auto use_for = [&](auto zero) {
        using T = decltype(zero);
        use(ViewKernel<T>{out.as<T>(), images.as<std::uint8_t>(), index.as<std::int64_t>(), normalisation.as<float>(), parameters, position});
    };
    if (out.dtype == DType::bf16) return use_for(bfloat16{});
    use_for(float{});
}

}  // namespace

void make_views(const Stream& stream, const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                const ViewParameters& parameters) {
    with_checked_kernel(out, images, index, normalisation, parameters, nullptr, [&](const auto& kernel) {
        for_each_row(stream, out.dim(0), kernel, one_view);
    });
}

void make_views_at(const Stream& stream, const Tensor& out, const Tensor& images, const Tensor& index, const EpochPosition* position,
                   const Tensor& normalisation, View view) {
    with_checked_kernel(out, images, index, normalisation, {.view = view}, position, [&](const auto& kernel) {
        for_each_row(stream, out.dim(0), kernel, one_view);
    });
}

void make_views_on_this_thread(const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                               const ViewParameters& parameters) {
    with_checked_kernel(out, images, index, normalisation, parameters, nullptr, [&](const auto& kernel) {
        ViewScratch scratch;
        const SerialTeam team(reinterpret_cast<unsigned char*>(&scratch));
        for (std::int64_t row = 0; row < out.dim(0); ++row) kernel(team, row);
    });
}

}  // namespace mlkd
