// Plans on small graphs of operations that are as plain as can be: addresses, first touches, shared memory.
#include "engine/plan.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/error.h"
#include "engine/kernels/philox.h"
#include "engine/plan_memory.h"

using namespace mlkd;

namespace {

float* floats(const Tensor& tensor) { return tensor.as<float>(); }

// y = w · x, elementwise; dL/dw in `gradient`. Poisons what it may: its scratch, and where told to, dL_dy.
class Scale final : public Op {
public:
    Scale(std::string name, float factor, bool adds, bool destroys = false) : w(factor), name_(std::move(name)), adds_(adds), destroys_(destroys) {}
    std::string name() const override { return name_; }
    std::string kind() const override { return "scale"; }
    Shape output(const std::vector<Shape>& x) const override { return x.at(0); }
    OpMemory memory(const OpTensors& t, int) const override {
        const TensorSpec like{t.y.dtype, t.y.shape};
        return {.kept = {like}, .forward_scratch = {like}, .backward_scratch = {like}};
    }
    void forward(OpRun&, const OpTensors& t) const override {
        for (std::int64_t i = 0; i < t.y.elements(); ++i) {
            floats(t.scratch[0])[i] = 1e30f;
            floats(t.kept[0])[i] = floats(t.x[0])[i];
        }
        for (std::int64_t i = 0; i < t.y.elements(); ++i) floats(t.y)[i] = w * floats(t.kept[0])[i];
    }
    void backward_inputs(OpRun&, const OpTensors& t, const Tensor& dL_dy, const std::vector<InputGradient>& gradients) const override {
        gradient = 0;
        for (std::int64_t i = 0; i < dL_dy.elements(); ++i) {
            floats(t.scratch[0])[i] = 1e30f;
            gradient += static_cast<double>(floats(dL_dy)[i]) * static_cast<double>(floats(t.kept[0])[i]);
        }
        if (!gradients[0].dL_dx.empty())
            for (std::int64_t i = 0; i < dL_dy.elements(); ++i) {
                float& to = floats(gradients[0].dL_dx)[i];
                to = w * floats(dL_dy)[i] + (gradients[0].add ? to : 0.0f);
            }
        if (destroys_)
            for (std::int64_t i = 0; i < dL_dy.elements(); ++i) floats(dL_dy)[i] = 1e30f;
    }
    bool backward_reads_inputs() const override { return false; }
    bool adds_gradient(int) const override { return adds_; }
    bool changes_gradient() const override { return destroys_; }
    std::int64_t parameter_elements() const override { return 1; }

    float w;
    mutable double gradient = 0;

private:
    std::string name_;
    bool adds_, destroys_;
};

// y = a + b, in a's memory where it may; both gradients are passed on.
class Sum final : public Op {
public:
    std::string name() const override { return "sum"; }
    std::string kind() const override { return "sum"; }
    Shape output(const std::vector<Shape>& x) const override { return x.at(0); }
    void forward(OpRun&, const OpTensors& t) const override {
        for (std::int64_t i = 0; i < t.y.elements(); ++i) floats(t.y)[i] = floats(t.x[0])[i] + floats(t.x[1])[i];
    }
    void backward_inputs(OpRun&, const OpTensors&, const Tensor&, const std::vector<InputGradient>&) const override {}
    bool backward_reads_inputs() const override { return false; }
    bool passes_gradient(int) const override { return true; }
    int in_place() const override { return 0; }
};

// A random graph of both on values (3), and what its gradients are by the chain rule on numbers: y of an image is linear in x and in each w.
struct RandomGraph {
    explicit RandomGraph(std::uint64_t seed) : graph({3}) {
        RandomSequence random(seed, Purpose::test, 0, 0);
        const auto choose = [&](int count) { return static_cast<int>(random.uniform() * static_cast<float>(count)) % count; };
        std::vector<Value> values{graph.images()};
        for (int i = 0; i < 12; ++i) {
            const Value a = values[static_cast<std::size_t>(choose(static_cast<int>(values.size())))];
            if (choose(3) == 0 && values.size() > 2) {
                Value b = values[1 + static_cast<std::size_t>(choose(static_cast<int>(values.size()) - 1))];
                values.push_back(graph.add(std::make_shared<Sum>(), {a.index == 0 ? values[1] : a, b}));
            } else {
                scales.push_back(std::make_shared<Scale>("s" + std::to_string(i), 2 * random.uniform() - 1, choose(2) == 0, choose(2) == 0));
                values.push_back(graph.add(scales.back(), {a}));
            }
        }
        // Everything ends in the result, so that every gradient is wanted.
        Value all = values[1];
        for (std::size_t i = 2; i < values.size(); ++i) all = graph.add(std::make_shared<Sum>(), {all, values[i]});
    }

    // Σ seed · y for images x, one number at a time.
    double loss(const std::vector<float>& x, const std::vector<float>& seed) const {
        double total = 0;
        for (std::size_t i = 0; i < x.size(); ++i) {
            std::vector<double> value{static_cast<double>(x[i])};
            for (const Graph::Node& node : graph.nodes()) {
                const auto in = [&](std::size_t k) { return value[static_cast<std::size_t>(node.inputs[k].index)]; };
                const auto* scale = dynamic_cast<const Scale*>(node.op.get());
                value.push_back(scale != nullptr ? static_cast<double>(scale->w) * in(0) : in(0) + in(1));
            }
            total += static_cast<double>(seed[i]) * value.back();
        }
        return total;
    }

    Graph graph;
    std::vector<std::shared_ptr<Scale>> scales;
};

}  // namespace

TEST_CASE("plan: any graph gives the gradients of its loss, with memory that is used again") {
    const auto backend = make_cpu_backend();
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        CAPTURE(seed);
        RandomGraph random(seed);
        const std::int64_t batch = 5;
        Plan plan(*backend, random.graph, PlanFor::training, batch, 1, DType::f32);
        PlanMemory memory(*backend);
        plan.bind(memory.block(plan.bytes()));
        std::vector<float> x, weight;
        RandomSequence numbers(seed, Purpose::test, 1, 0);
        for (int i = 0; i < 3 * batch; ++i) {
            x.push_back(2 * numbers.uniform() - 1);
            weight.push_back(2 * numbers.uniform() - 1);
        }
        for (int step = 0; step < 2; ++step) {
            plan.forward(view_of(x.data(), Shape{batch, 3}));
            double loss = 0;
            for (std::size_t i = 0; i < x.size(); ++i) loss += static_cast<double>(weight[i]) * static_cast<double>(floats(plan.result())[i]);
            CHECK(loss == doctest::Approx(random.loss(x, weight)).epsilon(1e-4));
            std::copy(weight.begin(), weight.end(), floats(plan.result_gradient()));
            plan.backward();
            for (const auto& scale : random.scales) {
                const float w = scale->w;
                scale->w = w + 0.25f;
                const double more = random.loss(x, weight);
                scale->w = w - 0.25f;
                const double slope = (more - random.loss(x, weight)) / 0.5;  // exact: L is linear in each w
                scale->w = w;
                CAPTURE(scale->name());
                CHECK(std::abs(scale->gradient - slope) < 1e-4 * (1 + std::abs(slope)));
            }
        }
    }
}

TEST_CASE("plan: a chain for evaluation needs the memory of two values") {
    const auto backend = make_cpu_backend();
    Graph graph({16});
    Value x = graph.images();
    for (int i = 0; i < 10; ++i) x = graph.add(std::make_shared<Scale>("s", 1.0f, true), {x});
    const Plan plan(*backend, graph, PlanFor::evaluation, 4, 1, DType::f32);
    CHECK(plan.bytes() == 4 * 4 * 16 * sizeof(float));  // input, result, kept and scratch of one operation
}

TEST_CASE("plan: images of another shape and a second kind of misuse are refused") {
    const auto backend = make_cpu_backend();
    Graph graph({3});
    graph.add(std::make_shared<Scale>("s", 1.0f, true), {graph.images()});
    Plan plan(*backend, graph, PlanFor::evaluation, 2, 1, DType::f32);
    PlanMemory memory(*backend);
    plan.bind(memory.block(plan.bytes()));
    std::vector<float> x(9);
    CHECK_THROWS_WITH_AS(plan.forward(view_of(x.data(), Shape{3, 3})), doctest::Contains("images (3, 3), expected (2, 3)"), Error);
    CHECK_THROWS_AS(plan.backward(), Error);
    CHECK_THROWS_AS(Plan(*backend, graph, PlanFor::training, 3, 2, DType::f32), Error);
}

TEST_CASE("memory plan: what lives at one time never overlaps, and the block is no larger than a simple bound") {
    RandomSequence random(5, Purpose::test, 2, 0);
    for (int repeat = 0; repeat < 30; ++repeat) {
        struct Part {
            std::size_t bytes;
            int first, last;
        };
        std::vector<Part> parts;
        MemoryPlan plan;
        for (int i = 0; i < 40; ++i) {
            const int first = static_cast<int>(random.uniform() * 50.0f), length = static_cast<int>(random.uniform() * 10.0f);
            parts.push_back({1 + static_cast<std::size_t>(random.uniform() * 1000.0f), first, first + length});
            CHECK(plan.add(parts.back().bytes, first, first + length) == i);
        }
        const std::size_t end = plan.place();
        std::size_t most = 0, all = 0;  // at one time
        for (int now = 0; now < 60; ++now) {
            std::size_t here = 0;
            for (const Part& part : parts)
                if (part.first <= now && now <= part.last) here += (part.bytes + 63) / 64 * 64;
            most = std::max(most, here);
        }
        for (const Part& part : parts) all += (part.bytes + 63) / 64 * 64;
        CHECK(end >= most);
        CHECK(end <= most + most / 2);
        CHECK(end < all);
        for (int a = 0; a < 40; ++a) {
            const Part& one = parts[static_cast<std::size_t>(a)];
            CHECK(plan.offset(a) % 64 == 0);
            CHECK(plan.offset(a) + one.bytes <= end);
            for (int b = 0; b < a; ++b) {
                const Part& other = parts[static_cast<std::size_t>(b)];
                if (one.last < other.first || other.last < one.first) continue;
                CHECK((plan.offset(a) + one.bytes <= plan.offset(b) || plan.offset(b) + other.bytes <= plan.offset(a)));
            }
        }
    }
}
