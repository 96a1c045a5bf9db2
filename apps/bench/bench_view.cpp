// The views of a batch: on a CPU as a loader's thread makes them, on one core whatever the number of threads; on a GPU in
// device memory.
#include <memory>
#include <numeric>

#include "apps/bench/bench_case.h"
#include "data/feeds/loader.h"
#include "data/readers/load.h"
#include "data/views/views.h"

namespace mlkd {
namespace {

constexpr std::int64_t batch = 64;

BenchWork prepare_on_host(const std::vector<View>& views) {
    struct State {
        Dataset dataset = make_synthetic(batch, 100, Split::train);
        std::vector<float> normalisation = normalisation_table(dataset);
        std::vector<std::int64_t> index = std::vector<std::int64_t>(batch);
        std::vector<float> out = std::vector<float>(batch * 32 * 32 * 3);
        std::uint32_t epoch = 0;
    };
    auto state = std::make_shared<State>();
    std::iota(state->index.begin(), state->index.end(), 0);
    const auto run = [state, views] {
        const Shape shape{batch, 32, 32, 3};
        for (const View view : views)
            make_views_on_this_thread(view_of(state->out.data(), shape), view_of(state->dataset.images.data(), shape),
                                      view_of(state->index.data(), Shape{batch}), view_of(state->normalisation.data(), Shape{3, 256}),
                                      {view, 1, state->epoch});
        ++state->epoch;  // other draws each time
    };
    return {.run = run, .images = batch};
}

// The first batch of a dataset in device memory, over and over.
BenchWork prepare_on_device(Backend& backend, const std::vector<View>& views) {
    auto tensors = std::make_shared<BenchTensors>(backend);
    const Dataset dataset = make_synthetic(batch, 100, Split::train);
    const auto copied = [&](const Shape& shape, DType dtype, const void* host) {
        const Tensor tensor = tensors->zeros(shape, dtype);
        backend.copy_from_host(tensor.data, host, tensor.bytes());
        return tensor;
    };
    const Shape shape{batch, 32, 32, 3};
    const Tensor images = copied(shape, DType::u8, dataset.images.data());
    const Tensor index = copied({batch}, DType::i64, given_order(batch).data());
    const Tensor normalisation = copied({3, 256}, DType::f32, normalisation_table(dataset).data());
    const Tensor out = tensors->zeros(shape);
    const auto run = [=, &backend] {
        for (const View view : views) make_views(backend.stream(), out, images, index, normalisation, {view, 1, 1});
    };
    return {.run = keeping(tensors, run), .images = batch};
}

BenchWork prepare(Backend& backend, const std::vector<View>& views) {
    return backend.stream().device == DeviceKind::cuda ? prepare_on_device(backend, views) : prepare_on_host(views);
}

}  // namespace

void add_view_cases(std::vector<BenchCase>& cases) {
    cases.push_back({"kernel/views/weak", [](Backend& backend) { return prepare(backend, {View::weak}); }});
    cases.push_back({"kernel/views/strong", [](Backend& backend) { return prepare(backend, {View::strong}); }});
    cases.push_back({"kernel/views/both", [](Backend& backend) { return prepare(backend, {View::weak, View::strong}); }});
}

}  // namespace mlkd
