#include <doctest/doctest.h>

#include <algorithm>
#include <vector>

#include "engine/kernels/launch.h"
#include "fixture.h"
#include "layers/ops/batch_norm_kernels.h"
#include "naive.h"

using namespace mlkd;

namespace {

struct Setting {
    std::int64_t batch, height, width, channels;
    int views;
    bool relu, residual;
    float shift;  // of the input: a large mean must cost no digits
};

// Everything that the four launches of one layer read and write; activations are stored as S.
template <class S> struct Run {
    using T = computed_t<S>;
    BuffersOf<T> buffers{7};
    BuffersOf<double> doubles{8};
    std::vector<std::int32_t> arrivals = std::vector<std::int32_t>(batch_norm_arrivals);
    StoredAs<S> stored;
    Tensor x, residual, gamma, beta, weight;  // weight: dL/dy of L = Σ weight · y
    Tensor y, mean, inverse_deviation, running_mean, running_variance;
    BatchNormWorkspace workspace;
    Tensor dL_dx, dz, dL_dgamma, dL_dbeta, mean_dz, mean_dz_xhat;

    Run(const Stream& stream, const Setting& s) {
        const Shape shape{s.batch, s.height, s.width, s.channels}, vector{s.channels}, per_view{s.views, s.channels};
        x = stored.rounded(buffers.input(shape, T{s.shift} - 1, T{s.shift} + 2));
        if (s.residual) residual = stored.rounded(buffers.input(shape));
        gamma = buffers.input(vector, T{0.5f}, T{1.5f});
        beta = buffers.input(vector);
        weight = stored.rounded(buffers.input(shape));
        y = stored.output(shape);
        mean = buffers.output(per_view);
        inverse_deviation = buffers.output(per_view);
        running_mean = buffers.constant(vector, T{0.25f});
        running_variance = buffers.constant(vector, T{2.0f});
        workspace = {buffers.output(batch_norm_partials_shape(shape, s.views)), doubles.output(batch_norm_group_sums_shape(shape, s.views)),
                     view_of(arrivals.data(), {batch_norm_arrivals})};
        dL_dx = stored.output(shape);
        dL_dgamma = buffers.output(vector);
        dL_dbeta = buffers.output(vector);
        mean_dz = buffers.output(per_view);
        mean_dz_xhat = buffers.output(per_view);
        dz = stored.output(shape);
        std::copy_n(weight.as<S>(), weight.elements(), dz.as<S>());

        batch_norm_statistics(stream, mean, inverse_deviation, running_mean, running_variance, workspace, x, s.views);
        batch_norm_apply(stream, y, x, mean, inverse_deviation, gamma, beta, residual, s.relu, s.views);
        std::fill_n(workspace.partials.as<T>(), workspace.partials.elements(), std::numeric_limits<T>::quiet_NaN());
        std::fill_n(workspace.group_sums.as<double>(), workspace.group_sums.elements(), std::numeric_limits<double>::quiet_NaN());
        // A team that need not read y does not.
        const Tensor sign_of_y = has_teams(stream) && !s.residual ? stored.output(shape) : y;
        batch_norm_backward_sums(stream, dL_dgamma, dL_dbeta, mean_dz, mean_dz_xhat, workspace, dz, sign_of_y, x, mean, inverse_deviation,
                                 gamma, beta, s.residual, s.relu, s.views);
        batch_norm_backward_apply(stream, dL_dx, dz, x, mean, inverse_deviation, gamma, mean_dz, mean_dz_xhat, s.views);
        CHECK(std::count(arrivals.begin(), arrivals.end(), 0) == batch_norm_arrivals);
    }
};

template <class S> naive::BatchNormCase reference_of(const Run<S>& run, const Setting& s) {
    return {s.batch / s.views * s.height * s.width, s.views, s.channels, values(run.x),
            s.residual ? values(run.residual) : std::vector<double>{}, values(run.gamma), values(run.beta), s.relu};
}

// dL/dy where ReLU let pass, after the layer's own y.
template <class S> std::vector<double> dz_of(const Run<S>& run, const Setting& s) {
    std::vector<double> dz = values(run.weight);
    const std::vector<double> y = values(run.y);
    for (std::size_t i = 0; i < dz.size(); ++i)
        if (s.relu && y[i] <= 0) dz[i] = 0;
    return dz;
}

const Setting settings[] = {
    {2, 3, 5, 7, 1, false, false, 0},  {4, 3, 5, 7, 2, true, false, 0},  {6, 2, 3, 5, 2, true, true, 0}, {3, 1, 1, 1, 1, true, true, 0},
    {2, 17, 19, 3, 1, true, true, 100}, {4, 16, 17, 33, 2, true, true, 3}, {9, 5, 7, 130, 3, false, true, 0},
    {4, 9, 11, 16, 2, true, true, 0},   {2, 16, 9, 64, 2, true, false, 1}, {2, 3, 5, 640, 1, true, true, 0},
    {6, 61, 55, 3, 2, true, true, 5},     // 40 chunks a view in groups of 16, the last one smaller
    {2, 363, 365, 1, 2, true, false, 2},  // 518 chunks a view in larger groups
};

// The tolerance of a test for activations stored as S: those of S are compared after their rounding.
template <class S> constexpr double within(double single, double twofold, double rounded) {
    return sizeof(S) == 2 ? rounded : sizeof(S) == 4 ? single : twofold;
}

}  // namespace

TEST_CASE_TEMPLATE("batch norm: forward, running statistics and the residual's gradient equal the naive loops", S, float, double, bfloat16) {
    for (const Setting& s : settings) {
        CAPTURE(s.channels);
        const Run<S> run({}, s);
        const naive::BatchNormCase reference = reference_of(run, s);
        CHECK(naive::relative_error(values(run.y), reference.forward()) < within<S>(4e-6, 1e-11, 3e-3));
        std::vector<double> running_mean, running_variance;
        for (std::int64_t c = 0; c < s.channels; ++c) {
            double m = 0.25, v = 2.0;
            for (std::int64_t view = 0; view < s.views; ++view) {  // weak first, then strong
                const double n = static_cast<double>(reference.pixels);
                m += 0.1 * (reference.mean(view, c) - m);
                v += 0.1 * (reference.variance(view, c) * n / (n - 1) - v);
            }
            running_mean.push_back(m);
            running_variance.push_back(v);
        }
        CHECK(naive::relative_error(values(run.running_mean), running_mean) < within<S>(1e-6, 1e-11, 1e-6));
        CHECK(naive::relative_error(values(run.running_variance), running_variance) < within<S>(1e-6, 1e-11, 1e-6));
        CHECK(values(run.dz) == dz_of(run, s));
    }
}

TEST_CASE_TEMPLATE("batch norm: gradients equal finite differences in double", T, float, double) {
    for (const Setting& s : settings) {
        if (s.batch * s.height * s.width * s.channels > 700) continue;
        CAPTURE(s.channels);
        const Run<T> run({}, s);
        naive::BatchNormCase reference = reference_of(run, s);
        const std::vector<double> weight = values(run.weight);
        const auto numeric = [&](std::vector<double>& at) {
            std::vector<double> gradient;
            for (double& value : at) gradient.push_back(naive::finite_difference(value, [&] { return reference.loss(weight); }));
            return gradient;
        };
        const std::vector<double> dL_dx = numeric(reference.x);
        if (naive::relative_error(dL_dx, std::vector<double>(dL_dx.size(), 0.0)) > 1e20)
            CHECK(naive::relative_error(values(run.dL_dx), dL_dx) < either<T>(2e-5, 1e-8));
        CHECK(naive::relative_error(values(run.dL_dgamma), numeric(reference.gamma)) < either<T>(2e-5, 1e-8));
        CHECK(naive::relative_error(values(run.dL_dbeta), numeric(reference.beta)) < either<T>(2e-5, 1e-8));
    }
}

TEST_CASE_TEMPLATE("batch norm: gradients equal the naive loops", S, float, double, bfloat16) {
    for (const Setting& s : settings) {
        CAPTURE(s.channels);
        const Run<S> run({}, s);
        const naive::BatchNormCase::Gradients expected = reference_of(run, s).gradients(values(run.weight), values(run.y));
        CHECK(naive::relative_error(values(run.dL_dx), expected.x) < within<S>(2e-5, 1e-11, 3e-3));
        CHECK(naive::relative_error(values(run.dL_dgamma), expected.gamma) < within<S>(2e-5, 1e-11, 2e-5));
        CHECK(naive::relative_error(values(run.dL_dbeta), expected.beta) < within<S>(2e-5, 1e-11, 2e-5));
    }
}

TEST_SUITE("team") {
    // Teams run the forms of a GPU: words of channels where these divide, sums of lanes in fixed order.
    TEST_CASE_TEMPLATE("batch norm: teams of threads give what one thread gives", S, float, double, bfloat16) {
        for (const Setting& s : settings)
            for (const int team_size : {5, 21}) {
                if (s.batch * s.height * s.width * s.channels > 100000) continue;
                CAPTURE(s.channels);
                CAPTURE(team_size);
                const test::Launches launches{3, team_size};
                const Stream teams = test::stream_of(launches);
                const Run<S> alone({}, s), together(teams, s), again(teams, s);
                const auto near = [](const Tensor& one, const Tensor& other) {
                    return naive::relative_error(values(one), values(other)) < within<S>(2e-6, 1e-13, one.dtype == DType::bf16 ? 3e-3 : 2e-6);
                };
                CHECK(near(together.y, alone.y));
                CHECK(values(together.dz) == dz_of(together, s));
                CHECK(near(together.running_mean, alone.running_mean));
                CHECK(near(together.running_variance, alone.running_variance));
                CHECK(near(together.dL_dgamma, alone.dL_dgamma));
                CHECK(near(together.dL_dbeta, alone.dL_dbeta));
                CHECK(naive::relative_error(values(together.dL_dx), values(alone.dL_dx)) < within<S>(2e-5, 1e-11, 3e-3));
                CHECK(values(again.dL_dx) == values(together.dL_dx));
                CHECK(values(again.dL_dgamma) == values(together.dL_dgamma));
            }
    }
}

TEST_CASE_TEMPLATE("batch norm: evaluation mode, and folded into a filter", T, float, double) {
    BuffersOf<T> buffers(3);
    const int C = 5;
    const T half = T{0.5f}, eighth = T{0.125f};
    const Tensor x = buffers.input({2, 3, 3, C}), gamma = buffers.input({C}, half, 2), beta = buffers.input({C}), mean = buffers.input({C}),
                 variance = buffers.input({C}, eighth, 3), y = buffers.output({2, 3, 3, C});
    const std::vector<double> xs = values(x), gammas = values(gamma), betas = values(beta), means = values(mean), variances = values(variance);
    const auto scale = [&](std::size_t c) { return gammas[c] / std::sqrt(variances[c] + 1e-5); };
    const Tensor residual = buffers.input({2, 3, 3, C});
    const std::vector<double> residuals = values(residual);
    for (const auto& [relu, adds] : {std::pair{false, false}, {true, false}, {true, true}}) {
        batch_norm_evaluate({}, y, x, mean, variance, gamma, beta, adds ? residual : Tensor{}, relu);
        std::vector<double> expected;
        for (std::size_t i = 0; i < xs.size(); ++i) {
            const double z = (xs[i] - means[i % C]) * scale(i % C) + betas[i % C] + (adds ? residuals[i] : 0);
            expected.push_back(relu && z < 0 ? 0 : z);
        }
        CHECK(naive::relative_error(values(y), expected) < either<T>(1e-6, 1e-11));
    }
    const Tensor w = buffers.input({C, 3, 1, 2}), folded = buffers.output({C, 3, 1, 2}), bias = buffers.output({C});
    batch_norm_fold({}, folded, bias, w, mean, variance, gamma, beta);
    std::vector<double> expected_w = values(w), expected_bias;
    for (std::size_t i = 0; i < expected_w.size(); ++i) expected_w[i] *= scale(i / 6);
    for (std::size_t k = 0; k < C; ++k) expected_bias.push_back(betas[k] - means[k] * scale(k));
    CHECK(naive::relative_error(values(folded), expected_w) < either<T>(1e-6, 1e-11));
    CHECK(naive::relative_error(values(bias), expected_bias) < either<T>(1e-6, 1e-11));
}
