#pragma once
// Passes of a whole network on host memory.
#include <vector>

#include "engine/kernels/elementwise.h"
#include "fixture.h"
#include "layers/network.h"

namespace mlkd::test {

// Logits of a training pass; the gradient of Σ weight · logits is in the network's gradients then.
inline std::vector<double> train(Network& network, const Tensor& images, const Tensor& weight, int views = 1) {
    const std::vector<double> logits = values(network.forward(images, views));
    copy({}, network.logits_gradient(), weight);
    network.backward();
    return logits;
}

inline std::vector<double> evaluate(Network& network, const Tensor& images) {
    network.fold();
    return values(network.evaluate(images));
}

}  // namespace mlkd::test
