// Networks whose activations and filters are bfloat16: master copies, and how far from float32 the numbers are.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "engine/kernels/elementwise.h"
#include "engine/optimizers/optimizers.h"
#include "naive.h"
#include "passes.h"

using namespace mlkd;

namespace {

bool lacks_bfloat16() {
    const std::string obstacle = cpu_bfloat16_obstacle();
    if (!obstacle.empty()) MESSAGE("skipped: ", obstacle);
    return !obstacle.empty();
}

// The first element of a parameter whose copy is not the rounded master; empty when all are as they should be.
std::string stale_copy(const Network& network) {
    for (const Parameter& parameter : network.parameters().parameters()) {
        const bool filter = parameter.shape.rank() == 4;
        if (parameter.value.dtype != (filter ? DType::bf16 : DType::f32) || parameter.master.dtype != DType::f32)
            return parameter.name + ": type";
        if (!filter && parameter.value.data != parameter.master.data) return parameter.name + ": two places";
        for (std::int64_t i = 0; filter && i < parameter.shape.elements(); ++i)
            if (parameter.value.as<bfloat16>()[i].bits != bfloat16(parameter.master.as<float>()[i]).bits)
                return parameter.name + " " + std::to_string(i);
    }
    return {};
}

// Images for a network of that type. `rounded` keeps them.
Tensor in_type(StoredAs<bfloat16>& rounded, DType dtype, const Tensor& images) { return images.dtype == dtype ? images : rounded.rounded(images); }

struct Trained {
    std::vector<double> logits, gradients;  // every parameter's gradient, in order of creation
};

// A training pass, and the gradient of Σ weight · logits.
Trained train(Network& network, const Tensor& images, const Tensor& weight, int views) {
    StoredAs<bfloat16> rounded;
    Trained out{test::train(network, in_type(rounded, network.precision(), images), weight, views), {}};
    for (const Parameter& parameter : network.parameters().parameters())
        for (const float g : network.parameters().in_pytorch_order(parameter.gradient)) out.gradients.push_back(double{g});
    return out;
}

std::vector<double> evaluate(Network& network, const Tensor& images) {
    StoredAs<bfloat16> rounded;
    return test::evaluate(network, in_type(rounded, network.precision(), images));
}

}  // namespace

TEST_CASE("bfloat16 networks: filters follow their float32 masters, and files know the masters alone") {
    const auto backend = make_cpu_backend();
    for (const Role role : {Role::trained, Role::frozen}) {
        const auto single = make_network(*backend, "wrn_16_1", {7, role}), rounded = make_network(*backend, "wrn_16_1", {7, role, DType::bf16});
        single->parameters().initialise(3);
        rounded->parameters().initialise(3);
        CHECK(stale_copy(*rounded) == "");
        CHECK(values(rounded->parameters().values()) == values(single->parameters().values()));
        const auto state = single->parameters().state(), same = rounded->parameters().state();
        REQUIRE(state.size() == same.size());
        for (const auto& [name, tensor] : state) {
            CAPTURE(name);
            CHECK(same.at(name).dtype == tensor.dtype);
            CHECK(same.at(name).bytes == tensor.bytes);
        }
        single->parameters().initialise(4);
        rounded->parameters().set_state(single->parameters().state(), "another network");
        CHECK(stale_copy(*rounded) == "");
        CHECK(values(rounded->parameters().values()) == values(single->parameters().values()));
        CHECK(single->parameters().rounded().values.empty());
        CHECK(rounded->parameters().rounded().gradients.empty() == (role == Role::frozen));
        // Filters lie first, so that an index tells them.
        const std::int64_t filters = rounded->parameters().rounded().values.elements();
        const auto* start = rounded->parameters().values().as<float>();
        for (const Parameter& parameter : rounded->parameters().parameters())
            CHECK((parameter.master.as<float>() - start < filters) == (parameter.shape.rank() == 4));
    }
}

TEST_CASE("bfloat16 networks: logits and gradients are float32's but for the rounding of 8 bits") {
    if (lacks_bfloat16()) return;
    const auto backend = make_cpu_backend();
    for (const std::string name : {"resnet8", "resnet8x4", "wrn_16_1"}) {
        CAPTURE(name);
        Buffers buffers(37);
        const Tensor images = buffers.input({6, 32, 32, 3}, -2, 2), weight = buffers.input({6, 10});
        const auto single = make_network(*backend, name, {10, Role::trained});
        const auto rounded = make_network(*backend, name, {10, Role::trained, DType::bf16});
        single->parameters().initialise(1);
        rounded->parameters().initialise(1);
        const Trained expected = train(*single, images, weight, 2), got = train(*rounded, images, weight, 2);
        const double logits_error = naive::relative_error(got.logits, expected.logits);
        const double gradient_error = naive::relative_error(got.gradients, expected.gradients);
        const double statistics_error =
            naive::relative_error(values(rounded->parameters().statistics()), values(single->parameters().statistics()));
        const double evaluation_error =
            naive::relative_error(evaluate(*rounded, images), evaluate(*single, images));
        CHECK(logits_error < 0.03);
        CHECK(gradient_error < 0.25);  // batch norm's backward pass takes differences of what was rounded
        CHECK(statistics_error < 0.01);
        CHECK(evaluation_error < 0.03);
        CHECK(logits_error > 1e-5);  // it did round
    }
}

TEST_CASE("bfloat16 networks: SGD with steps below a bfloat16's last place lowers a loss") {
    if (lacks_bfloat16()) return;
    const auto backend = make_cpu_backend();
    Buffers buffers(41);
    const Tensor images = buffers.input({8, 32, 32, 3}, -2, 2), weight = buffers.input({8, 5}), lr = buffers.constant({1}, 1e-5f);
    const auto network = make_network(*backend, "resnet8", {5, Role::trained, DType::bf16});
    network->parameters().initialise(2);
    ParameterStore& store = network->parameters();
    PersistentArena memory(*backend);
    OptimizerState optimizer(*backend, memory, *make_optimizer("SGD"), store.values());
    const auto step = [&] {  // returns Σ weight · logits before it
        const Trained now = train(*network, images, weight, 1);
        double loss = 0;
        for (std::size_t i = 0; i < now.logits.size(); ++i) loss += now.logits[i] * values(weight)[i];
        optimizer.update(store.values(), store.gradients(), lr, store.rounded());
        return loss;
    };
    const std::vector<double> start = values(store.values());
    const double before = step();
    CHECK(stale_copy(*network) == "");
    double after = before;
    for (int i = 0; i < 20; ++i) after = step();
    CHECK(after < before - 0.1);
    CHECK(stale_copy(*network) == "");
    // What moved, moved for the most part by less than half of a bfloat16's last place: without masters it would not have.
    const std::int64_t filters = store.rounded().values.elements();
    const std::vector<double> end = values(store.values());
    std::int64_t small = 0, moved = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(filters); ++i) {
        moved += end[i] != start[i];
        small += end[i] != start[i] && std::abs(end[i] - start[i]) < std::abs(start[i]) / 512;
    }
    CHECK(moved > filters / 2);
    CHECK(small > moved / 2);
}
