// The answers of docs/tour.md, computed with the program.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <fstream>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/optimizers/optimizers.h"
#include "layers/network.h"
#include "layers/ops/batch_norm_kernels.h"
#include "losses/cross_entropy.h"

using namespace mlkd;

namespace {

std::string answer(int exercise) {
    std::ifstream file(std::string(MLKD_SOURCE_DIR) + "/docs/tour.md");
    const std::string start = fmt::format("    {}: ", exercise);
    for (std::string line; std::getline(file, line);)
        if (line.starts_with(start)) return line.substr(start.size());
    return "none";
}

}  // namespace

TEST_CASE("tour: a network's operations, in training and folded; an addition's gradients") {
    const auto backend = make_cpu_backend();
    const auto network = make_network(*backend, "resnet8", {10, Role::trained});
    CHECK(answer(1) == fmt::format("{} operations, {} folded", network->graph().nodes().size(), network->evaluation_graph().nodes().size()));

    const Plan plan(*backend, network->graph(), PlanFor::training, 2, 1, DType::f32);
    std::size_t copies = 0, additions = 0;
    for (const Plan::Step& step : plan.steps()) {
        copies += step.afterwards.size();
        additions += step.forward.x.size() == 2 && step.op->passes_gradient(1);
    }
    CHECK(additions == 3);
    CHECK(answer(5) == std::to_string(copies));
}

TEST_CASE("tour: a running mean after two views") {
    std::vector<float> x{1, 1, 3, 3}, mean(2), deviation(2), running{0}, variance{1};  // two views of two images, a pixel, a channel
    const Tensor images = view_of(x.data(), Shape{4, 1, 1, 1});
    const Shape of_partials = batch_norm_partials_shape(images.shape, 2), of_groups = batch_norm_group_sums_shape(images.shape, 2);
    std::vector<float> partials(static_cast<std::size_t>(of_partials.elements()));
    std::vector<double> groups(static_cast<std::size_t>(of_groups.elements()));
    std::vector<std::int32_t> arrivals(batch_norm_arrivals);
    batch_norm_statistics({}, view_of(mean.data(), Shape{2, 1}), view_of(deviation.data(), Shape{2, 1}), view_of(running.data(), Shape{1}),
                          view_of(variance.data(), Shape{1}),
                          {view_of(partials.data(), of_partials), view_of(groups.data(), of_groups),
                           view_of(arrivals.data(), Shape{batch_norm_arrivals})},
                          images, 2);
    CHECK(answer(2) == fmt::format("{:.2f}", running[0]));
}

TEST_CASE("tour: a weight after two steps") {
    const auto backend = make_cpu_backend();
    std::vector<double> w{1}, gradient{0.5}, rate{0.1};
    const auto one = [](std::vector<double>& of) { return view_of(of.data(), Shape{1}); };
    PersistentArena memory(*backend);
    OptimizerState sgd(*backend, memory, *make_optimizer("SGD", {{"momentum", 0.9}, {"weight_decay", 0.0005}}), one(w));
    std::vector<double> seen;
    for (const double g : {0.5, 0.0}) {
        gradient[0] = g;
        sgd.update(one(w), one(gradient), one(rate));
        seen.push_back(w[0]);
    }
    CHECK(answer(3) == fmt::format("{:.6g}, {:.6g}", seen[0], seen[1]));
}

TEST_CASE("tour: cross entropy of two logits") {
    std::vector<float> logits{2, 0}, gradient(2), loss(1);
    std::vector<std::int32_t> target{1};
    cross_entropy({}, view_of(loss.data(), Shape{1}), view_of(gradient.data(), Shape{1, 2}), view_of(logits.data(), Shape{1, 2}),
                  view_of(target.data(), Shape{1}), 1.0, 0.0);
    CHECK(answer(4) == fmt::format("loss {:.4f}, gradient {:.4f} {:.4f}", loss[0], gradient[0], gradient[1]));
}
