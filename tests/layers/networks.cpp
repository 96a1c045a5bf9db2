#include <doctest/doctest.h>

#include "engine/error.h"
#include "naive.h"
#include "passes.h"

using namespace mlkd;

TEST_CASE("networks: parameters and forward operations as counted elsewhere") {
    const auto backend = make_cpu_backend();
    // Parameters at 100 classes as PyTorch counts them in the reference definitions.
    const std::map<std::string, std::int64_t> parameters{{"resnet20", 278324},   {"resnet32", 472756},  {"resnet56", 861620},
                                                         {"resnet110", 1736564}, {"resnet8x4", 1233540}, {"resnet32x4", 7433860},
                                                         {"wrn_16_2", 703284}};
    const std::map<std::string, double> mflop{{"resnet20", 81.6}, {"resnet32", 138.3},  {"resnet56", 251.5},
                                              {"resnet110", 506.3}, {"resnet8x4", 354.1}, {"resnet32x4", 2166.1}};
    for (const std::string& name : network_names()) {
        const auto network = make_network(*backend, name, {100, Role::frozen});
        if (parameters.contains(name)) CHECK(network->parameters().trainable_elements() == parameters.at(name));
        if (mflop.contains(name)) CHECK(network->flop_per_image() / 1e6 == doctest::Approx(mflop.at(name)).epsilon(1e-3));
    }
    CHECK(network_names().size() == 13);
    CHECK_THROWS_WITH_AS(make_network(*backend, "rsnet8x4", {100, Role::frozen}), doctest::Contains("did you mean 'resnet8x4'"), UsageError);
    CHECK_THROWS_AS(make_network(*backend, "resnet8", {1, Role::frozen}), UsageError);
}

TEST_CASE("networks: two views in one batch are two passes, weak first") {
    for (const std::string name : {"resnet8", "wrn_16_1"}) {
        const auto backend = make_cpu_backend({0, "direct", ""});
        Buffers buffers(17);
        const std::int64_t batch = 3;
        const Tensor images = buffers.input({2 * batch, 32, 32, 3}, -2, 2), weight = buffers.input({2 * batch, 10});
        const auto together = make_network(*backend, name, {10, Role::trained}), apart = make_network(*backend, name, {10, Role::trained});
        together->parameters().initialise(1);
        apart->parameters().initialise(1);

        std::vector<double> logits = test::train(*together, images, weight, 2);
        std::vector<double> weak = test::train(*apart, images.slice(0, batch), weight.slice(0, batch), 1);
        std::vector<double> gradients = values(apart->parameters().gradients());
        const std::vector<double> strong =
            test::train(*apart, images.slice(batch, batch), weight.slice(batch, batch), 1);
        weak.insert(weak.end(), strong.begin(), strong.end());
        const std::vector<double> second = values(apart->parameters().gradients());
        for (std::size_t i = 0; i < gradients.size(); ++i) gradients[i] += second[i];

        CHECK(naive::relative_error(logits, weak) < 1e-5);
        CHECK(naive::relative_error(values(together->parameters().gradients()), gradients) < 1e-4);
        CHECK(naive::relative_error(values(together->parameters().statistics()), values(apart->parameters().statistics())) < 1e-5);
    }
}

TEST_CASE("networks: gradients are those of the loss, by finite differences of the running program") {
    // In single precision, along the gradient itself: ‖g‖ is the slope of the loss there.
    const auto backend = make_cpu_backend({0, "direct", ""});
    for (const std::string name : {"resnet8", "wrn_16_1"}) {
        Buffers buffers(23);
        const Tensor images = buffers.input({6, 32, 32, 3}, -2, 2), weight = buffers.input({6, 10});
        const auto network = make_network(*backend, name, {10, Role::trained});
        network->parameters().initialise(3);
        const auto loss = [&] {
            const std::vector<double> logits = test::train(*network, images, weight, 1);
            double sum = 0;
            for (std::size_t i = 0; i < logits.size(); ++i) sum += logits[i] * values(weight)[i];
            return sum;
        };
        loss();
        const std::vector<double> gradient = values(network->parameters().gradients()), start = values(network->parameters().values());
        double square = 0;
        for (double g : gradient) square += g * g;
        const auto moved = [&](double step) {
            float* w = network->parameters().values().as<float>();
            for (std::size_t i = 0; i < start.size(); ++i) w[i] = static_cast<float>(start[i] + step * gradient[i] / std::sqrt(square));
            return loss();
        };
        const double h = 2e-3;
        const double slope = (moved(h) - moved(-h)) / (2 * h);
        CHECK(slope == doctest::Approx(std::sqrt(square)).epsilon(2e-2));
    }
}

TEST_CASE("networks: the state goes out and in under PyTorch's names, and foreign states are refused whole") {
    const auto backend = make_cpu_backend();
    const auto one = make_network(*backend, "resnet8x4", {10, Role::trained}), other = make_network(*backend, "resnet8x4", {10, Role::frozen});
    one->parameters().initialise(1);
    other->parameters().initialise(2);
    one->parameters().batches_tracked = 42;
    auto state = one->parameters().state();
    CHECK(state.at("conv1.weight").shape == std::vector<std::int64_t>{32, 3, 3, 3});
    CHECK(state.at("layer1.0.downsample.0.weight").shape == std::vector<std::int64_t>{64, 32, 1, 1});
    CHECK(state.at("layer3.0.bn2.num_batches_tracked").as<std::int64_t>()[0] == 42);
    // OIHW: element (o, i, h, w) of the file is element (o, h, w, i) of the filter.
    const Parameter& filter = one->parameters().parameters()[0];
    CHECK(state.at("conv1.weight").as<float>()[((5 * 3 + 2) * 3 + 1) * 3 + 0] == filter.value.as<float>()[((5 * 3 + 1) * 3 + 0) * 3 + 2]);

    std::map<std::string, HostTensor> prefixed;
    for (const auto& [name, tensor] : state)
        if (!name.ends_with("num_batches_tracked")) prefixed["module.student." + name] = tensor;
    other->parameters().set_state(prefixed, "file");
    CHECK(values(other->parameters().values()) == values(one->parameters().values()));
    CHECK(values(other->parameters().statistics()) == values(one->parameters().statistics()));

    const std::vector<double> before = values(other->parameters().values());
    auto missing = state;
    missing.erase("fc.bias");
    CHECK_THROWS_WITH_AS(other->parameters().set_state(missing, "a.st"), doctest::Contains("a.st: has no tensor 'fc.bias'"), Error);
    auto surplus = state;
    surplus["extra"] = state.at("fc.bias");
    CHECK_THROWS_WITH_AS(other->parameters().set_state(surplus, "a.st"), doctest::Contains("'extra'"), Error);
    const auto more_classes = make_network(*backend, "resnet8x4", {11, Role::frozen});
    CHECK_THROWS_WITH_AS(more_classes->parameters().set_state(state, "a.st"), doctest::Contains("number of classes"), Error);
    CHECK(values(other->parameters().values()) == before);
}

TEST_CASE("networks: initial weights are Kaiming-normal by fan-out, and the same for one seed") {
    const auto backend = make_cpu_backend();
    const auto network = make_network(*backend, "resnet20", {100, Role::trained}), again = make_network(*backend, "resnet20", {100, Role::trained});
    network->parameters().initialise(1);
    again->parameters().initialise(1);
    CHECK(values(network->parameters().values()) == values(again->parameters().values()));
    again->parameters().initialise(2);
    CHECK(values(network->parameters().values()) != values(again->parameters().values()));
    for (const Parameter& parameter : network->parameters().parameters()) {
        if (parameter.shape.rank() != 4 || parameter.shape.elements() < 4000) continue;
        double sum = 0, square = 0;
        for (double w : values(parameter.value)) sum += w, square += w * w;
        const double n = static_cast<double>(parameter.shape.elements()), expected = std::sqrt(2.0 / static_cast<double>(parameter.shape[0] * 9));
        CHECK(std::abs(sum / n) < 4 * expected / std::sqrt(n));
        CHECK(std::sqrt(square / n) == doctest::Approx(expected).epsilon(4 / std::sqrt(2 * n)));
    }
}
