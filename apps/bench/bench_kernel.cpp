// Our own kernels at the shapes of the networks, batch 64.
#include <fmt/format.h>

#include <array>
#include <memory>

#include "apps/bench/bench_case.h"
#include "engine/kernels/elementwise.h"
#include "engine/optimizers/optimizers.h"
#include "layers/ops/batch_norm_kernels.h"
#include "layers/ops/pooled_linear_kernels.h"
#include "losses/meters/accuracy.h"

namespace mlkd {
namespace {

struct Activation {
    std::int64_t extent, channels;
};
// The first stage of resnet20, and the three of the x4 networks.
constexpr std::array activations{Activation{32, 16}, Activation{32, 64}, Activation{16, 128}, Activation{8, 256}};
constexpr std::int64_t batch = 64, classes = 100;

Shape shape_of(const Activation& a) { return {batch, a.extent, a.extent, a.channels}; }
std::string text_of(const Activation& a) { return fmt::format("{}x{}x{}x{}", batch, a.extent, a.extent, a.channels); }

double bytes_of(std::initializer_list<Tensor> tensors) {
    double sum = 0;
    for (const Tensor& tensor : tensors) sum += static_cast<double>(tensor.bytes());
    return sum;
}

// The tensors of a batch norm with a residual and ReLU on one view: the largest case.
struct BatchNormState : BenchTensors {
    BatchNormState(Backend& backend, const Activation& a, DType dtype)
        : BenchTensors(backend),
          x(uniform(shape_of(a), -1, 1, dtype)),
          y(zeros(shape_of(a), dtype)),
          residual(uniform(shape_of(a), -1, 1, dtype)),
          dL_dx(zeros(shape_of(a), dtype)),
          dL_dy(uniform(shape_of(a), -1, 1, dtype)),
          mean(zeros({1, a.channels})),
          inverse_deviation(zeros({1, a.channels})),
          mean_dz(zeros({1, a.channels})),
          mean_dz_xhat(zeros({1, a.channels})),
          running_mean(zeros({a.channels})),
          running_variance(uniform({a.channels}, 0.5, 1.5)),
          gamma(uniform({a.channels}, 0.5, 1.5)),
          beta(uniform({a.channels})),
          dL_dgamma(zeros({a.channels})),
          dL_dbeta(zeros({a.channels})),
          workspace{zeros(batch_norm_partials_shape(x.shape, 1)), zeros(batch_norm_group_sums_shape(x.shape, 1), DType::f64),
                    zeros({batch_norm_arrivals}, DType::i32)} {}

    void forward(const Stream& stream) const {
        batch_norm_statistics(stream, mean, inverse_deviation, running_mean, running_variance, workspace, x, 1);
        batch_norm_apply(stream, y, x, mean, inverse_deviation, gamma, beta, residual, true, 1);
    }
    void backward(const Stream& stream) const {
        batch_norm_backward_sums(stream, dL_dgamma, dL_dbeta, mean_dz, mean_dz_xhat, workspace, dL_dy, y, x, mean, inverse_deviation, gamma,
                                 beta, true, true, 1);
        batch_norm_backward_apply(stream, dL_dx, dL_dy, x, mean, inverse_deviation, gamma, mean_dz, mean_dz_xhat, 1);
    }

    Tensor x, y, residual, dL_dx, dL_dy;                    // (N, H, W, C)
    Tensor mean, inverse_deviation, mean_dz, mean_dz_xhat;  // (1, C)
    Tensor running_mean, running_variance, gamma, beta, dL_dgamma, dL_dbeta;
    BatchNormWorkspace workspace;
};

BenchWork prepare_batch_norm(Backend& backend, const Activation& a, DType dtype, bool forward) {
    const auto state = std::make_shared<BatchNormState>(backend, a, dtype);
    const Stream stream = backend.stream();
    state->forward(stream);
    const Tensor &x = state->x, &y = state->y, &dL_dx = state->dL_dx, &dL_dy = state->dL_dy;
    if (forward) return {.run = [state, stream] { state->forward(stream); }, .bytes = bytes_of({x, x, state->residual, y})};
    return {.run = [state, stream] { state->backward(stream); }, .bytes = bytes_of({dL_dy, y, x, dL_dy, dL_dy, x, dL_dx})};
}

BenchWork prepare_add(Backend& backend, const Activation& a, DType dtype) {
    const auto tensors = std::make_shared<BenchTensors>(backend);
    const Tensor sum = tensors->zeros(shape_of(a), dtype), addend = tensors->uniform(shape_of(a), -1, 1, dtype);
    return {.run = keeping(tensors, [=, &backend] { add_to(backend.stream(), sum, addend); }), .bytes = bytes_of({sum, sum, addend})};
}

// Pooling and the linear layer; backward: all of their gradients.
BenchWork prepare_head(Backend& backend, const Activation& a, bool forward) {
    const auto tensors = std::make_shared<BenchTensors>(backend);
    const Tensor x = tensors->uniform(shape_of(a)), pooled = tensors->uniform({batch, a.channels}), logits = tensors->uniform({batch, classes});
    const Tensor w = tensors->uniform({classes, a.channels}), bias = tensors->uniform({classes}), dL_dw = tensors->zeros(w.shape);
    if (forward)
        return {.run = keeping(tensors, [=, &backend] { pooled_linear(backend, logits, pooled, x, w, bias); }),
                .bytes = bytes_of({x, pooled, pooled, w, logits, bias})};
    const Tensor dL_dpooled = tensors->zeros(pooled.shape);
    return {.run = keeping(tensors, [=, &backend] { pooled_linear_backward(backend, {x, dL_dw, bias}, logits, pooled, w, dL_dpooled); }),
            .bytes = bytes_of({logits, pooled, dL_dw, logits, w, x})};
}

BenchWork prepare_update(Backend& backend, const std::string& optimizer, std::int64_t elements) {
    struct State {
        State(Backend& device, const Optimizer& kind, std::int64_t count)
            : memory(device), tensors(device), values(tensors.uniform({count})), optimizer(device, memory, kind, values) {}
        PersistentArena memory;
        BenchTensors tensors;
        Tensor values;
        OptimizerState optimizer;
    };
    const auto state = std::make_shared<State>(backend, *make_optimizer(optimizer), elements);
    const Tensor gradients = state->tensors.uniform({elements}), lr = state->tensors.uniform({1}, 0, 0.001f);
    const auto slots = static_cast<double>(state->optimizer.slots().size());
    return {.run = [=] { state->optimizer.update(state->values, gradients, lr); },
            .bytes = bytes_of({state->values, state->values, gradients}) + 2 * slots * bytes_of({gradients})};
}

BenchWork prepare_accuracy(Backend& backend, std::int64_t columns) {
    struct State {
        explicit State(Backend& device) : arena(device), tensors(device) {}
        StepArena arena;
        BenchTensors tensors;
    };
    const auto state = std::make_shared<State>(backend);
    const Tensor logits = state->tensors.uniform({batch, columns}, -4, 4), target = state->tensors.labels(batch, columns);
    const Tensor counters = state->tensors.zeros({accuracy_counter_count}, DType::f64);
    const auto run = [=, &backend] {
        state->arena.begin("accuracy");
        accumulate_accuracy(backend.stream(), state->arena, counters, logits, target);
        state->arena.end();
    };
    return {.run = run, .bytes = bytes_of({logits})};
}

}  // namespace

void add_kernel_cases(std::vector<BenchCase>& cases, DType precision) {
    for (const Activation& a : activations) {
        for (const bool forward : {true, false})
            cases.push_back({fmt::format("kernel/batch_norm/{}/{}", forward ? "forward" : "backward", text_of(a)),
                             [=](Backend& device) { return prepare_batch_norm(device, a, precision, forward); }});
        cases.push_back({fmt::format("kernel/add/{}", text_of(a)), [=](Backend& device) { return prepare_add(device, a, precision); }});
    }
    for (const Activation& a : {Activation{8, 64}, Activation{8, 256}})
        for (const bool forward : {true, false})
            cases.push_back({fmt::format("kernel/head/{}/{}", forward ? "forward" : "backward", text_of(a)),
                             [a, forward](Backend& backend) { return prepare_head(backend, a, forward); }});
    for (const std::int64_t elements : {std::int64_t{278'324}, std::int64_t{1'233'540}})  // resnet20, resnet8x4
        for (const auto& [label, optimizer] : {std::pair{"sgd", "SGD"}, std::pair{"adamw", "AdamW"}})
            cases.push_back({fmt::format("kernel/{}/{}", label, elements),
                             [optimizer, elements](Backend& backend) { return prepare_update(backend, optimizer, elements); }});
    for (const std::int64_t columns : {std::int64_t{100}, std::int64_t{1000}})
        cases.push_back({fmt::format("kernel/accuracy/{}x{}", batch, columns),
                         [columns](Backend& backend) { return prepare_accuracy(backend, columns); }});
}

}  // namespace mlkd
