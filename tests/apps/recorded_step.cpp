// What a step asks of its backend, step by step. A CUDA graph replays the calls of one step with the addresses of that step:
// so later steps must make the same calls with the same addresses, and none that allocates, copies to the host or waits.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <initializer_list>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "apps/training_step.h"
#include "layers/network.h"

using namespace mlkd;

namespace {

// The CPU backend with a protocol.
class RecordingBackend : public Backend {
public:
    Stream stream() const override { return cpu_->stream(); }
    std::string description() const override { return cpu_->description(); }
    int threads() const override { return cpu_->threads(); }

    void* allocate(std::size_t bytes) override {
        note(fmt::format("allocate {}", bytes), {});
        return cpu_->allocate(bytes);
    }
    void free(void* memory) noexcept override { cpu_->free(memory); }
    void copy_to_host(void* host, const void* device, std::size_t bytes) override {
        note(fmt::format("copy_to_host {} {}", device, bytes), {});
        cpu_->copy_to_host(host, device, bytes);
    }
    void copy_from_host(void* device, const void* host, std::size_t bytes) override {
        note(fmt::format("copy_from_host {} {}", device, bytes), {});
        cpu_->copy_from_host(device, host, bytes);
    }
    void fill_zero(void* memory, std::size_t bytes) override {
        note(fmt::format("fill_zero {} {}", memory, bytes), {});
        cpu_->fill_zero(memory, bytes);
    }
    void synchronize() override {
        note("synchronize", {});
        cpu_->synchronize();
    }
    void convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                             const Epilogue& epilogue) override {
        note("convolution_forward", {y, x, w, epilogue.bias, epilogue.residual});
        cpu_->convolution_forward(y, x, w, convolution, epilogue);
    }
    void convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                   bool accumulate) override {
        note(accumulate ? "convolution_backward_data_added" : "convolution_backward_data", {dL_dx, dL_dy, w});
        cpu_->convolution_backward_data(dL_dx, dL_dy, w, convolution, accumulate);
    }
    void convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) override {
        note("convolution_backward_filter", {dL_dw, x, dL_dy});
        cpu_->convolution_backward_filter(dL_dw, x, dL_dy, convolution);
    }
    void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                float beta) override {
        note("matmul", {c, a, b});
        cpu_->matmul(c, a, transpose_a, b, transpose_b, alpha, beta);
    }

    // The calls since the last take().
    std::vector<std::string> take() { return std::exchange(calls_, {}); }

private:
    void note(std::string call, std::initializer_list<Tensor> tensors) {
        for (const Tensor& tensor : tensors)
            call += tensor.empty() ? " none" : fmt::format(" {}{}", static_cast<const void*>(tensor.data), tensor.shape.text());
        calls_.push_back(std::move(call));
    }

    std::unique_ptr<Backend> cpu_ = make_cpu_backend({.threads = 0, .convolution = "direct", .plan_file = ""});
    std::vector<std::string> calls_;
};

std::string name_of_call(const std::string& call) { return call.substr(0, call.find(' ')); }

}  // namespace

TEST_CASE("recorded step: the second and the third step make the same calls on the same memory, and none that a graph forbids") {
    constexpr int classes = 10;
    for (const Method method : {Method::none, Method::kd, Method::mlkd_official}) {
        CAPTURE(static_cast<int>(method));
        RecordingBackend backend;
        StepArena arena(backend, 1 << 20);
        const auto student = make_network(backend, "resnet8", classes, Role::trained);
        const auto teacher = make_network(backend, "resnet8x4", classes, Role::frozen);
        student->parameters().initialise(1);
        teacher->parameters().initialise(2);
        teacher->fold();
        DistillationConfig losses;
        losses.method = method;
        losses.temperatures = {4, 2};
        losses.kd_weight = 1;
        TrainingStep step(backend, arena, *student, method == Method::none ? nullptr : teacher.get(), losses, SgdSettings{});
        step.set_learning_rate(0.01);
        PersistentArena inputs(backend);
        for (const std::int64_t batch : {6, 3}) {  // the last, smaller batch is a graph of its own
            CAPTURE(batch);
            const Tensor images = inputs.allocate("images", DType::f32, {step.views() * batch, 32, 32, 3});
            const Tensor target = inputs.allocate("target", DType::i32, {batch});
            for (std::int64_t i = 0; i < images.elements(); ++i) images.as<float>()[i] = static_cast<float>(i % 17) / 8 - 1;
            const auto calls_of_a_step = [&] {
                backend.take();
                step.run(images, target);
                return backend.take();
            };
            calls_of_a_step();  // allocates
            const std::vector<std::string> second = calls_of_a_step(), third = calls_of_a_step();
            CHECK(second == third);
            std::set<std::string> kinds;
            for (const std::string& call : second) kinds.insert(name_of_call(call));
            CHECK(kinds.count("convolution_backward_filter") == 1);
            for (const char* forbidden : {"allocate", "copy_to_host", "copy_from_host", "synchronize"}) {
                CAPTURE(forbidden);
                CHECK(kinds.count(forbidden) == 0);
            }
        }
    }
}
