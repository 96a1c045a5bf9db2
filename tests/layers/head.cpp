#include <doctest/doctest.h>

#include <algorithm>

#include "fixture.h"
#include "layers/ops/pooled_linear.h"
#include "layers/ops/pooled_linear_kernels.h"
#include "naive.h"
#include "tests/support/recording_backend.h"

using namespace mlkd;

namespace {

// logits = mean over pixels of x · wᵀ + b.
struct NaiveHead {
    std::int64_t batch, pixels, channels, classes;
    std::vector<double> x, w, b;

    double loss(const std::vector<double>& weight) const {
        double sum = 0;
        for (std::int64_t n = 0; n < batch; ++n)
            for (std::int64_t o = 0; o < classes; ++o) {
                double logit = b[static_cast<std::size_t>(o)];
                for (std::int64_t p = 0; p < pixels; ++p)
                    for (std::int64_t c = 0; c < channels; ++c)
                        logit += x[static_cast<std::size_t>((n * pixels + p) * channels + c)] / static_cast<double>(pixels) *
                                 w[static_cast<std::size_t>(o * channels + c)];
                sum += weight[static_cast<std::size_t>(n * classes + o)] * logit;
            }
        return sum;
    }
};

}  // namespace

TEST_CASE_TEMPLATE("head: logits and all gradients against the naive loops", T, float, double) {
    const std::int64_t batch = 3, side = 5, channels = 7, classes = 11;
    const auto backend = make_cpu_backend();
    PersistentArena memory(*backend);
    ParameterStore store;
    const PooledLinear head(store, "fc", static_cast<int>(channels), static_cast<int>(classes), LinearBias::uniform);
    store.allocate(*backend, memory, true, dtype_of<T>());
    store.initialise(5);
    BuffersOf<T> buffers(11);
    const Tensor images = buffers.input({batch, side, side, channels}), weight = buffers.input({batch, classes});
    const Tensor out_dL_dx = buffers.output(images.shape);

    OpRun run{*backend};
    OpTensors tensors{{images}, buffers.output({batch, classes}), {buffers.output({batch, channels})}, {}};
    head.forward(run, tensors);
    const std::vector<double> logits = values(tensors.y);
    tensors.scratch = {buffers.output({batch, channels})};
    head.backward_inputs(run, tensors, weight, {{out_dL_dx}});

    NaiveHead reference{batch, side * side, channels, classes, values(images), values(store.parameters()[0].value),
                        values(store.parameters()[1].value)};
    const std::vector<double> seed = values(weight);
    double sum = 0;
    for (std::size_t i = 0; i < seed.size(); ++i) sum += seed[i] * logits[i];
    CHECK(sum == doctest::Approx(reference.loss(seed)).epsilon(either<T>(1e-5, 1e-11)));
    const auto numeric = [&](std::vector<double>& at) {
        std::vector<double> gradient;
        for (double& value : at) gradient.push_back(naive::finite_difference(value, [&] { return reference.loss(seed); }));
        return gradient;
    };
    CHECK(naive::relative_error(values(out_dL_dx), numeric(reference.x)) < either<T>(1e-5, 1e-9));
    CHECK(naive::relative_error(values(store.parameters()[0].gradient), numeric(reference.w)) < either<T>(1e-5, 1e-9));
    CHECK(naive::relative_error(values(store.parameters()[1].gradient), numeric(reference.b)) < either<T>(1e-5, 1e-9));

    // L is linear in each: its gradients, term by term.
    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    std::vector<double> dL_dw(reference.w.size()), dL_db(reference.b.size()), dL_dx(reference.x.size());
    for (std::int64_t n = 0; n < batch; ++n)
        for (std::int64_t o = 0; o < classes; ++o) {
            const double g = seed[at(n * classes + o)];
            dL_db[at(o)] += g;
            for (std::int64_t p = 0; p < side * side; ++p)
                for (std::int64_t c = 0; c < channels; ++c) {
                    const std::int64_t i = (n * side * side + p) * channels + c;
                    dL_dw[at(o * channels + c)] += g * reference.x[at(i)] / static_cast<double>(side * side);
                    dL_dx[at(i)] += g * reference.w[at(o * channels + c)] / static_cast<double>(side * side);
                }
        }
    CHECK(naive::relative_error(values(out_dL_dx), dL_dx) < either<T>(1e-5, 1e-11));
    CHECK(naive::relative_error(values(store.parameters()[0].gradient), dL_dw) < either<T>(1e-5, 1e-11));
    CHECK(naive::relative_error(values(store.parameters()[1].gradient), dL_db) < either<T>(1e-5, 1e-11));
}

namespace {

struct HeadSize {
    std::int64_t batch, height, width, channels, classes;
};

// The kernels alone, in the forms of the backend, with x and dL/dx stored as S.
template <class S> void check_head_kernels(Backend& backend, const HeadSize& size, double tolerance) {
    CAPTURE(size.channels);
    CAPTURE(size.classes);
    using T = computed_t<S>;
    const std::int64_t pixels = size.height * size.width;
    const Shape of_x{size.batch, size.height, size.width, size.channels}, of_pooled{size.batch, size.channels};
    const Shape of_logits{size.batch, size.classes}, of_weight{size.classes, size.channels};
    BuffersOf<T> buffers(7);
    StoredAs<S> stored;
    const Tensor x = stored.rounded(buffers.input(of_x)), weight = buffers.input(of_weight), bias = buffers.input({size.classes});
    const Tensor dL_dlogits = buffers.input(of_logits), logits = buffers.output(of_logits), pooled = buffers.output(of_pooled);
    const PooledLinearGradients gradients{stored.output(of_x), buffers.output(of_weight), buffers.output({size.classes})};
    pooled_linear(backend, logits, pooled, x, weight, bias);
    pooled_linear_backward(backend, gradients, dL_dlogits, pooled, weight, buffers.output(of_pooled));

    const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
    const std::vector<double> in = values(x), w = values(weight), b = values(bias), g = values(dL_dlogits);
    std::vector<double> means(at(of_pooled.elements())), out(at(of_logits.elements())), dx(in.size()), dw(w.size()), db(b.size());
    for (std::int64_t n = 0; n < size.batch; ++n) {
        for (std::int64_t p = 0; p < pixels; ++p)
            for (std::int64_t c = 0; c < size.channels; ++c)
                means[at(n * size.channels + c)] += in[at((n * pixels + p) * size.channels + c)] / static_cast<double>(pixels);
        for (std::int64_t o = 0; o < size.classes; ++o) {
            const double slope = g[at(n * size.classes + o)];
            double& logit = out[at(n * size.classes + o)] = b[at(o)];
            db[at(o)] += slope;
            for (std::int64_t c = 0; c < size.channels; ++c) {
                const double factor = w[at(o * size.channels + c)], mean = means[at(n * size.channels + c)];
                logit += factor * mean;
                dw[at(o * size.channels + c)] += slope * mean;
                for (std::int64_t p = 0; p < pixels; ++p)
                    dx[at((n * pixels + p) * size.channels + c)] += slope * factor / static_cast<double>(pixels);
            }
        }
    }
    CHECK(naive::relative_error(values(pooled), means) < tolerance);
    CHECK(naive::relative_error(values(logits), out) < tolerance);
    CHECK(naive::relative_error(values(gradients.dL_dweight), dw) < tolerance);
    CHECK(naive::relative_error(values(gradients.dL_dbias), db) < tolerance);
    CHECK(naive::relative_error(values(gradients.dL_dx), dx) < std::max(tolerance, sizeof(S) == 2 ? 3e-3 : 0));  // rounded to bfloat16
}

// A pixel, words of one channel and of many, fewer outputs than a tile and a few more, more channels than members.
constexpr HeadSize head_sizes[] = {{1, 1, 1, 1, 1}, {5, 3, 2, 7, 11}, {3, 1, 5, 8, 2}, {2, 3, 3, 24, 9}, {9, 2, 2, 16, 4}};

}  // namespace

TEST_CASE("head: the kernels of a CPU against naive loops") {
    test::RecordingBackend backend;
    for (const HeadSize& size : head_sizes) {
        check_head_kernels<float>(backend, size, 1e-6);
        check_head_kernels<double>(backend, size, 1e-14);
        check_head_kernels<bfloat16>(backend, size, 1e-6);
    }
}

TEST_SUITE("team") {
    TEST_CASE("head: one launch each way, by teams of threads, against naive loops") {
        for (const auto& [teams, team_size] : {std::pair{2, 3}, std::pair{2, 8}, std::pair{1, 20}}) {
            CAPTURE(team_size);
            test::RecordingBackend backend(teams, team_size);
            for (const HeadSize& size : head_sizes) {
                check_head_kernels<float>(backend, size, 1e-6);
                check_head_kernels<double>(backend, size, 1e-14);
                check_head_kernels<bfloat16>(backend, size, 1e-6);
            }
        }
    }
}
