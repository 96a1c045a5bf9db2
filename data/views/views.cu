#include "data/views/views.h"

#include "data/views/view_kernel.h"
#include "engine/error.h"
#include "engine/types.h"

namespace mlkd {

namespace {

constexpr RowLaunch one_view{.scratch_bytes = sizeof(ViewScratch), .team_size = 256};

bool is_images(const Tensor& tensor) {
    return tensor.shape.rank() == 4 && tensor.shape == Shape{tensor.dim(0), image_side, image_side, image_channels};
}

// Calls use(maker) with the maker for the type of `out`.
template <class Use> void with_checked_maker(const Tensor& out, const Tensor& images, const Tensor& normalisation, const Use& use) {
    MLKD_CHECK(is_images(out) && is_images(images),
               "views: " + out.shape.text() + " from " + images.shape.text() + ", not 32 x 32 x 3 both");
    MLKD_CHECK((normalisation.shape == Shape{image_channels, 256}), "views: normalisation table of shape " + normalisation.shape.text());
    if (out.dtype == DType::bf16) return use(ViewMaker<bfloat16>{images.as<std::uint8_t>(), normalisation.as<float>()});
    use(ViewMaker<float>{images.as<std::uint8_t>(), normalisation.as<float>()});
}

template <class Use>
void with_checked_kernel(const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                         const ViewParameters& parameters, const Use& use) {
    with_checked_maker(out, images, normalisation, [&]<class T>(const ViewMaker<T>& maker) {
        MLKD_CHECK(index.shape == Shape{out.dim(0)}, "views: " + index.shape.text() + " indices for " + out.shape.text());
        use(ViewKernel<T>{out.as<T>(), maker, index.as<std::int64_t>(), parameters});
    });
}

}  // namespace

void make_views(const Stream& stream, const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                const ViewParameters& parameters) {
    with_checked_kernel(out, images, index, normalisation, parameters, [&](const auto& kernel) {
        for_each_row(stream, out.dim(0), kernel, one_view);
    });
}

void make_views_on_this_thread(const Tensor& out, const Tensor& images, const Tensor& index, const Tensor& normalisation,
                               const ViewParameters& parameters) {
    with_checked_kernel(out, images, index, normalisation, parameters, [&](const auto& kernel) {
        ViewScratch scratch;
        const SerialTeam team(reinterpret_cast<unsigned char*>(&scratch));
        for (std::int64_t row = 0; row < out.dim(0); ++row) kernel(team, row);
    });
}

void make_batch(const Stream& stream, const Tensor& out, const Tensor& target, const EpochOnDevice& epoch, bool augment) {
    with_checked_maker(out, epoch.images, epoch.normalisation, [&]<class T>(const ViewMaker<T>& maker) {
        const std::int64_t rows = out.dim(0), size = target.elements(), count = epoch.images.dim(0);
        MLKD_CHECK(target.shape.rank() == 1 && size > 0 && (rows == size || rows == 2 * size),
                   "views: " + out.shape.text() + " and labels " + target.shape.text() + " are no one or two views of a batch");
        MLKD_CHECK((epoch.labels.shape == Shape{count} && epoch.order.shape == Shape{count}),
                   "views: " + epoch.labels.shape.text() + " labels and an order of " + epoch.order.shape.text() + " for " +
                       epoch.images.shape.text());
        for_each_row(stream, rows,
                     BatchKernel<T>{out.as<T>(), target.as<std::int32_t>(), maker, epoch.labels.as<std::int32_t>(),
                                    epoch.order.as<std::int64_t>(), epoch.position, rows, size, augment},
                     one_view);
    });
}

}  // namespace mlkd
