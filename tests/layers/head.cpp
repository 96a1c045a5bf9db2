#include <doctest/doctest.h>

#include "engine/sgd.h"
#include "fixture.h"
#include "layers/head.h"
#include "layers/head_kernels.h"
#include "naive.h"

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
    StepArena arena(*backend);
    Tape tape(*backend, arena);
    ParameterStore store;
    const PooledLinear head(store, "fc", static_cast<int>(channels), static_cast<int>(classes), LinearBias::uniform);
    store.allocate(*backend, memory, true, dtype_of<T>());
    store.initialise(5);
    BuffersOf<T> buffers(11);
    const Tensor images = buffers.input({batch, side, side, channels}), weight = buffers.input({batch, classes});

    arena.begin("step");
    tape.reset();
    store.begin_step();
    TrainingPass pass{*backend, arena, tape, 1};
    const Variable x = tape.variable(images);
    const Variable logits = head.forward(pass, x);
    tape.contribute(*logits.gradient, weight);
    tape.backward();
    arena.end();

    NaiveHead reference{batch, side * side, channels, classes, values(images), values(store.parameters()[0].variable.value),
                        values(store.parameters()[1].variable.value)};
    const std::vector<double> seed = values(weight);
    double sum = 0;
    for (std::size_t i = 0; i < seed.size(); ++i) sum += seed[i] * values(logits.value)[i];
    CHECK(sum == doctest::Approx(reference.loss(seed)).epsilon(either<T>(1e-5, 1e-11)));
    const auto numeric = [&](std::vector<double>& at) {
        std::vector<double> gradient;
        for (double& value : at) gradient.push_back(naive::finite_difference(value, [&] { return reference.loss(seed); }));
        return gradient;
    };
    CHECK(naive::relative_error(values(x.gradient->tensor), numeric(reference.x)) < either<T>(1e-5, 1e-9));
    CHECK(naive::relative_error(values(store.parameters()[0].gradient.tensor), numeric(reference.w)) < either<T>(1e-5, 1e-9));
    CHECK(naive::relative_error(values(store.parameters()[1].gradient.tensor), numeric(reference.b)) < either<T>(1e-5, 1e-9));

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
    CHECK(naive::relative_error(values(x.gradient->tensor), dL_dx) < either<T>(1e-5, 1e-11));
    CHECK(naive::relative_error(values(store.parameters()[0].gradient.tensor), dL_dw) < either<T>(1e-5, 1e-11));
    CHECK(naive::relative_error(values(store.parameters()[1].gradient.tensor), dL_db) < either<T>(1e-5, 1e-11));

    // Evaluation gives the same logits.
    const std::vector<double> trained = values(logits.value);
    arena.begin("evaluate");
    EvaluationPass evaluation{*backend, arena};
    const Tensor evaluated = buffers.output({batch, classes});
    head.evaluate(evaluation, evaluated, images);
    arena.end();
    CHECK(naive::relative_error(values(evaluated), trained) < either<T>(1e-6, 1e-11));
}

TEST_SUITE("team") {
    TEST_CASE("pooling: teams of threads give what one thread gives") {
        Stream teams;
        teams.teams = 2;
        teams.team_size = 3;
        Buffers buffers(2);
        const Tensor x = buffers.input({5, 3, 2, 7}), one = buffers.output({5, 7}), many = buffers.output({5, 7}),
                     back_one = buffers.output({5, 3, 2, 7}), back_many = buffers.output({5, 3, 2, 7});
        mean_over_pixels({}, one, x);
        mean_over_pixels(teams, many, x);
        CHECK(values(one) == values(many));
        mean_over_pixels_backward({}, back_one, one);
        mean_over_pixels_backward(teams, back_many, one);
        CHECK(values(back_one) == values(back_many));
    }

    TEST_CASE("pooling: several lanes of pixels and words of channels give what one thread gives") {
        for (const int team_size : {8, 20})
            for (const Shape& shape : {Shape{5, 3, 2, 7}, Shape{3, 1, 5, 8}}) {
                CAPTURE(team_size);
                CAPTURE(shape.text());
                Stream teams;
                teams.teams = 2;
                teams.team_size = team_size;
                Buffers buffers(2);
                const Shape of_image{shape[0], shape[3]};
                const Tensor x = buffers.input(shape), one = buffers.output(of_image), many = buffers.output(of_image),
                             back_one = buffers.output(shape), back_many = buffers.output(shape);
                mean_over_pixels({}, one, x);
                mean_over_pixels(teams, many, x);
                CHECK(naive::relative_error(values(many), values(one)) < 1e-6);  // lanes add up in another order
                mean_over_pixels_backward({}, back_one, one);
                mean_over_pixels_backward(teams, back_many, one);
                CHECK(values(back_one) == values(back_many));
            }
    }

    TEST_CASE("sums over the batch: teams of threads give what one thread gives") {
        for (const int team_size : {3, 8, 50}) {
            CAPTURE(team_size);
            Stream teams;
            teams.teams = 2;
            teams.team_size = team_size;
            Buffers buffers(3);
            const Tensor y = buffers.input({37, 21}), one = buffers.output({21}), many = buffers.output({21});
            sum_over_batch({}, one, y);
            sum_over_batch(teams, many, y);
            CHECK(naive::relative_error(values(many), values(one)) < 1e-6);
        }
    }
}

TEST_CASE_TEMPLATE("sgd: momentum and weight decay as PyTorch's, over three steps", T, float, double) {
    BuffersOf<T> buffers(13);
    const Tensor w = buffers.input({37}), v = buffers.constant({37}, 0), lr = buffers.constant({1}, static_cast<T>(0.05));
    std::vector<double> expected_w = values(w), expected_v(37, 0.0);
    for (int step = 0; step < 3; ++step) {
        const Tensor g = buffers.input({37});
        sgd_step({}, w, v, g, lr, {0.9, 5e-4});
        for (std::size_t i = 0; i < 37; ++i) {
            expected_v[i] = 0.9 * expected_v[i] + values(g)[i] + 5e-4 * expected_w[i];
            expected_w[i] -= 0.05 * expected_v[i];
        }
    }
    CHECK(naive::relative_error(values(w), expected_w) < either<T>(1e-6, 1e-11));
    CHECK(naive::relative_error(values(v), expected_v) < either<T>(1e-6, 1e-11));
}
