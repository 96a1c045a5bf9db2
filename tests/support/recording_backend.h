#pragma once
// The CPU backend with a protocol of its calls, and with recordings as a GPU has them: what a recorded piece of work enqueues,
// kernels and operations, is kept with the arguments and addresses of that moment and run by each replay. So a test without a
// GPU sees what a captured graph would do: a step that depends on the host, beyond its first two runs, gives other numbers.
#include <fmt/format.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "engine/backend.h"
#include "engine/error.h"

namespace mlkd::test {

class RecordingBackend : public Backend {
public:
    // teams, team_size: own kernels run in the forms that a GPU gets, on so many teams of so many threads; 0: in a CPU's.
    // late_branch: there is a second branch, whose work runs as late as a device may run it: all of it at join().
    explicit RecordingBackend(int teams = 0, int team_size = 0, bool late_branch = false) : launches_{teams, team_size} {
        if (!late_branch) return;
        side_ = std::make_unique<RecordingBackend>(teams, team_size);
        side_->launches_.recorded = &side_->late_;
    }

    Backend& side() override {
        if (side_ == nullptr) return *this;
        return *side_;
    }
    void join() override {
        if (side_ == nullptr) return;
        for (auto& piece : std::exchange(side_->late_, {})) {
            ++beside_;
            enqueue([side = side_.get(), piece = std::move(piece)] {
                auto* const list = std::exchange(side->launches_.recorded, nullptr);
                piece();
                side->launches_.recorded = list;
            });
        }
    }
    // How many pieces of work have gone to the second branch.
    int beside() const { return beside_; }

    Stream stream() const override { return stream_of(launches_); }
    std::string description() const override { return cpu_->description(); }
    int threads() const override { return cpu_->threads(); }

    void* allocate(std::size_t bytes) override {
        forbid(fmt::format("allocate {}", bytes));
        return cpu_->allocate(bytes);
    }
    void free(void* memory) noexcept override { cpu_->free(memory); }
    void copy_to_host(void* host, const void* device, std::size_t bytes) override {
        forbid(fmt::format("copy_to_host {} {}", device, bytes));
        cpu_->copy_to_host(host, device, bytes);
    }
    void copy_from_host(void* device, const void* host, std::size_t bytes) override {
        forbid(fmt::format("copy_from_host {} {}", device, bytes));
        cpu_->copy_from_host(device, host, bytes);
    }
    void fill_zero(void* memory, std::size_t bytes) override {
        calls_.push_back(fmt::format("fill_zero {} {}", memory, bytes));
        enqueue([=, this] { cpu_->fill_zero(memory, bytes); });
    }
    void synchronize() override {
        forbid("synchronize");
        cpu_->synchronize();
    }
    std::unique_ptr<Recording> record(const std::function<void()>& work) override {
        auto recording = std::make_unique<Calls>();
        launches_.recorded = &recording->work;
        try {
            work();
        } catch (...) {
            launches_.recorded = nullptr;
            throw;
        }
        launches_.recorded = nullptr;
        return recording;
    }

    void convolution_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Convolution& convolution,
                             const Epilogue& epilogue) override {
        note("convolution_forward", {y, x, w, epilogue.bias, epilogue.residual});
        enqueue([=, this] { cpu_->convolution_forward(y, x, w, convolution, epilogue); });
    }
    void convolution_backward_data(const Tensor& dL_dx, const Tensor& dL_dy, const Tensor& w, const Convolution& convolution,
                                   bool accumulate) override {
        note(accumulate ? "convolution_backward_data_added" : "convolution_backward_data", {dL_dx, dL_dy, w});
        enqueue([=, this] { cpu_->convolution_backward_data(dL_dx, dL_dy, w, convolution, accumulate); });
    }
    void convolution_backward_filter(const Tensor& dL_dw, const Tensor& x, const Tensor& dL_dy, const Convolution& convolution) override {
        note("convolution_backward_filter", {dL_dw, x, dL_dy});
        enqueue([=, this] { cpu_->convolution_backward_filter(dL_dw, x, dL_dy, convolution); });
    }
    void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                float beta) override {
        note("matmul", {c, a, b});
        enqueue([=, this] { cpu_->matmul(c, a, transpose_a, b, transpose_b, alpha, beta); });
    }

    // The calls since the last take().
    std::vector<std::string> take() { return std::exchange(calls_, {}); }

private:
    struct Calls final : Recording {
        std::vector<std::function<void()>> work;
        void replay() override {
            for (const auto& piece : work) piece();
        }
        int kernels() const override { return static_cast<int>(work.size()); }
        int others() const override { return 0; }
    };

    void note(std::string call, std::initializer_list<Tensor> tensors) {
        for (const Tensor& tensor : tensors)
            call += tensor.empty() ? " none" : fmt::format(" {}{}", static_cast<const void*>(tensor.data), tensor.shape.text());
        calls_.push_back(std::move(call));
    }
    // A call that a capture forbids.
    void forbid(const std::string& call) {
        if (launches_.recorded != nullptr && launches_.recorded != &late_) throw Error("in a recording: " + call);
        calls_.push_back(call);
    }
    void enqueue(std::function<void()> work) {
        if (launches_.recorded != nullptr)
            launches_.recorded->push_back(std::move(work));
        else
            work();
    }

    Launches launches_;
    std::unique_ptr<RecordingBackend> side_;
    std::vector<std::function<void()>> late_;  // of a second branch: what waits for join()
    int beside_ = 0;
    std::unique_ptr<Backend> cpu_ = make_cpu_backend({.threads = 0, .convolution = "direct", .plan_file = ""});
    std::vector<std::string> calls_;
};

}  // namespace mlkd::test
