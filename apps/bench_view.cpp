// The views of a batch, as a loader's thread makes them: one core, whatever the number of threads.
#include <memory>
#include <numeric>

#include "apps/bench_case.h"
#include "data/load.h"
#include "data/views.h"

namespace mlkd {
namespace {

constexpr std::int64_t batch = 64;

BenchWork prepare(const std::vector<View>& views) {
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

}  // namespace

void add_view_cases(std::vector<BenchCase>& cases) {
    cases.push_back({"kernel/views/weak", [](Backend&) { return prepare({View::weak}); }});
    cases.push_back({"kernel/views/strong", [](Backend&) { return prepare({View::strong}); }});
    cases.push_back({"kernel/views/both", [](Backend&) { return prepare({View::weak, View::strong}); }});
}

}  // namespace mlkd
