// What only a GPU can answer: convolutions and products against their definitions. Without a GPU nothing here runs.
#include <doctest/doctest.h>

#include <cmath>
#include <deque>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "tests/cuda/convolution_cases.h"
#include "tests/engine/buffers.h"
#include "tests/engine/naive_convolution.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

// nullptr, with a word about it, where there is no GPU.
std::unique_ptr<Backend> gpu_with(const CudaOptions& options) {
    std::string why;
    auto backend = make_cuda_backend(options, why);
    if (backend == nullptr) MESSAGE("not run: ", why);
    return backend;
}

// A tensor on the GPU with a host tensor's values: NaN where it is still to be written.
template <class T> class OnGpu {
public:
    OnGpu(Backend& backend, BufferOf<T>& host) : backend_(backend), memory_(backend), host_(host) {
        tensor_ = memory_.allocate("operand", dtype_of<T>(), host.shape());
        backend.copy_from_host(tensor_.data, host.data(), tensor_.bytes());
    }
    const Tensor& tensor() const { return tensor_; }
    const BufferOf<T>& fetched() {
        backend_.copy_to_host(host_.data(), tensor_.data, tensor_.bytes());
        return host_;
    }

private:
    Backend& backend_;
    PersistentArena memory_;
    BufferOf<T>& host_;
    Tensor tensor_;
};

double tolerance_of(MathMode mode) { return mode == MathMode::fp32 ? 1e-5 : 2e-3; }  // TF32 keeps 10 bits of each factor

// Every epilogue and both gradients in T. References take the rounded inputs.
template <class T> void check_convolutions(Backend& backend, double tolerance) {
    CAPTURE(backend.description());
    CAPTURE(name_of(dtype_of<T>()));
    for (const ConvolutionCase& c : convolution_cases) {
        const NaiveConvolution naive(c.x, c.w, c.convolution);
        CAPTURE(c.x.text());
        CAPTURE(c.w.text());
        BufferOf<T> x(c.x), w(c.w), bias({c.w[0]}), residual(naive.y), dL_dy(naive.y), dL_dx(c.x), dL_dw(c.w);
        x.fill_random(1), w.fill_random(2), bias.fill_random(3), residual.fill_random(4), dL_dy.fill_random(5);
        OnGpu gx(backend, x), gw(backend, w), gbias(backend, bias), gresidual(backend, residual), gdy(backend, dL_dy);
        const auto x_values = x.values(), w_values = w.values(), dL_dy_values = dL_dy.values();
        const Values products = naive.forward(x_values.data(), w_values.data());
        for (int mask = 0; mask < 8; ++mask) {
            CAPTURE(mask);
            Values expected = products;
            for (std::size_t i = 0; i < expected.size(); ++i) {
                const auto index = static_cast<std::int64_t>(i);
                if (mask & 1) expected[i] += double{bias[index % c.w[0]]};
                if (mask & 2) expected[i] += double{residual[index]};
                if (mask & 4) expected[i] = expected[i] > 0 ? expected[i] : 0;
            }
            BufferOf<T> y(naive.y);
            OnGpu gy(backend, y);
            backend.convolution_forward(gy.tensor(), gx.tensor(), gw.tensor(), c.convolution,
                                        {mask & 1 ? gbias.tensor() : Tensor{}, mask & 2 ? gresidual.tensor() : Tensor{}, (mask & 4) != 0});
            CHECK(relative_difference(gy.fetched(), expected) < tolerance);
        }
        OnGpu gdx(backend, dL_dx), gdw(backend, dL_dw);
        backend.convolution_backward_data(gdx.tensor(), gdy.tensor(), gw.tensor(), c.convolution);
        Values expected = naive.backward_data(dL_dy_values.data(), w_values.data());
        CHECK(relative_difference(gdx.fetched(), expected) < tolerance);
        BufferOf<T> sum(c.x);
        sum.fill_random(6);
        for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += double{sum[static_cast<std::int64_t>(i)]};
        OnGpu gsum(backend, sum);  // timing at the first call must not add
        backend.convolution_backward_data(gsum.tensor(), gdy.tensor(), gw.tensor(), c.convolution, true);
        CHECK(relative_difference(gsum.fetched(), expected) < tolerance);
        backend.convolution_backward_filter(gdw.tensor(), gx.tensor(), gdy.tensor(), c.convolution);
        CHECK(relative_difference(gdw.fetched(), naive.backward_filter(x_values.data(), dL_dy_values.data())) < tolerance);
    }
}

template <class T> void check_products(Backend& backend, double tolerance) {
    constexpr std::int64_t batch = 2, m = 13, n = 37, k = 65;
    for (const bool ta : {false, true})
        for (const bool tb : {false, true}) {
            BufferOf<T> a(ta ? Shape{batch, k, m} : Shape{batch, m, k}), b(tb ? Shape{batch, n, k} : Shape{batch, k, n}), c({batch, m, n});
            a.fill_random(1), b.fill_random(2), c.fill_random(3);
            Values expected;
            for (std::int64_t z = 0; z < batch; ++z)
                for (std::int64_t i = 0; i < m; ++i)
                    for (std::int64_t j = 0; j < n; ++j) {
                        double sum = 0;
                        for (std::int64_t l = 0; l < k; ++l)
                            sum += double{a[z * m * k + (ta ? l * m + i : i * k + l)]} * b[z * k * n + (tb ? j * k + l : l * n + j)];
                        expected.push_back(0.5 * sum - 2.0 * c[(z * m + i) * n + j]);
                    }
            OnGpu ga(backend, a), gb(backend, b), gc(backend, c);
            backend.matmul(gc.tensor(), ga.tensor(), ta ? Transpose::yes : Transpose::no, gb.tensor(), tb ? Transpose::yes : Transpose::no,
                           0.5f, -2.0f);
            CHECK(relative_difference(gc.fetched(), expected) < tolerance);
        }
}

}  // namespace

TEST_CASE("convolutions on a GPU equal their definitions, with every epilogue and both gradients") {
    for (const MathMode mode : {MathMode::fp32, MathMode::tf32}) {
        const auto backend = gpu_with({.convolutions = mode, .plan_file = ""});
        if (backend == nullptr) return;
        check_convolutions<float>(*backend, tolerance_of(mode));
        check_convolutions<bfloat16>(*backend, 1.0 / 256);  // sums are float32, so that the result's rounding alone is left
        check_convolutions<double>(*backend, 1e-13);
    }
}

TEST_CASE("matrix products on a GPU equal their definition") {
    for (const MathMode mode : {MathMode::fp32, MathMode::tf32}) {
        const auto backend = gpu_with({.matrix_products = mode, .plan_file = ""});
        if (backend == nullptr) return;
        check_products<float>(*backend, tolerance_of(mode));
        check_products<double>(*backend, 1e-13);
    }
}

TEST_CASE("a second GPU backend with the plan file of a first repeats its bits") {
    const TemporaryFolder folder;
    CudaOptions options;
    options.plan_file = folder / "plans.json";
    Buffer x({64, 16, 16, 64}), dL_dy({64, 16, 16, 64}), first({64, 3, 3, 64}), second({64, 3, 3, 64});
    x.fill_random(1), dL_dy.fill_random(2);
    for (Buffer* dL_dw : {&first, &second}) {
        const auto backend = gpu_with(options);
        if (backend == nullptr) return;
        OnGpu gx(*backend, x), gdy(*backend, dL_dy), gdw(*backend, *dL_dw);
        backend->convolution_backward_filter(gdw.tensor(), gx.tensor(), gdy.tensor(), {1, 1});
        gdw.fetched();
        const std::string text = read_bytes(options.plan_file);
        CHECK(text.find("backward_filter x(64, 16, 16, 64) w(64, 3, 3, 64) stride 1 padding 1 tf32") != std::string::npos);
    }
    CHECK(first.values() == second.values());
}

TEST_CASE("recorded convolutions keep their workspace when later ones need a larger one") {
    // In float32 the first of cuDNN's proposals for these takes a workspace that grows with the batch.
    const auto backend = gpu_with({.convolutions = MathMode::fp32, .timed = false, .plan_file = ""});
    if (backend == nullptr) return;
    struct Recorded {
        std::unique_ptr<OnGpu<float>> y, x, w;
        std::unique_ptr<Recording> recording;
        std::vector<float> expected;
    };
    std::deque<Buffer> host;
    std::vector<Recorded> all;
    for (const std::int64_t images : {1, 4, 16, 64}) {
        Recorded one;
        const auto on_gpu = [&](const Shape& shape, unsigned seed) {
            host.emplace_back(shape).fill_random(seed);
            return std::make_unique<OnGpu<float>>(*backend, host.back());
        };
        one.y = on_gpu({images, 16, 16, 64}, 1), one.x = on_gpu({images, 16, 16, 64}, 2), one.w = on_gpu({64, 3, 3, 64}, 3);
        const auto run = [&] { backend->convolution_forward(one.y->tensor(), one.x->tensor(), one.w->tensor(), {1, 1}); };
        run();
        one.expected = one.y->fetched().values();
        one.recording = backend->record(run);
        backend->fill_zero(one.y->tensor().data, one.y->tensor().bytes());
        all.push_back(std::move(one));
    }
    for (Recorded& one : all) {
        one.recording->replay();
        CHECK(one.y->fetched().values() == one.expected);
    }
}

// A network that has run into NaNs must not look healthy: max(x, 0) may lose them, and cuDNN does not say which one it computes.
TEST_CASE("a NaN passes the ReLU of a convolution on a GPU") {
    const auto backend = gpu_with({.plan_file = ""});
    if (backend == nullptr) return;
    const auto check = [&](auto zero) {
        using T = decltype(zero);
        constexpr std::int64_t extent = 8, channels = 16, row = 3, column = 4;  // where the NaN is
        BufferOf<T> x({2, extent, extent, channels}), w({channels, 3, 3, channels}), bias({channels}), residual(x.shape());
        x.fill_random(1), w.fill_random(2), bias.fill_random(3), residual.fill_random(4);
        x.data()[(row * extent + column) * channels] = T(std::numeric_limits<float>::quiet_NaN());
        OnGpu gx(*backend, x), gw(*backend, w), gbias(*backend, bias), gresidual(*backend, residual);
        for (const bool added : {false, true}) {
            CAPTURE(added);
            BufferOf<T> y(x.shape());
            OnGpu gy(*backend, y);
            const Epilogue epilogue{gbias.tensor(), added ? gresidual.tensor() : Tensor{}, true};
            backend->convolution_forward(gy.tensor(), gx.tensor(), gw.tensor(), {1, 1}, epilogue);
            gy.fetched();
            for (std::int64_t h = row - 1; h <= row + 1; ++h)
                for (std::int64_t i = 0; i < 3 * channels; ++i)
                    CHECK(std::isnan(y[(h * extent + column - 1) * channels + i]));
            for (std::int64_t i = y.shape().elements() / 2; i < y.shape().elements(); ++i) CHECK(y[i] >= 0);  // the other image
        }
    };
    check(float{});
    check(bfloat16{});
}
