#pragma once
// The same work on the CPU and on the GPU, and how far the results lie apart. Without a GPU such a test says so and passes;
// with MLKD_TEST_WITHOUT_GPU=1 a second CPU backend stands in for it, which tests the tests.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/bfloat16.h"
#include "engine/kernels/philox.h"
#include "engine/types.h"

namespace mlkd::test {

// nullptr, with a word about it, where there is no GPU.
inline std::unique_ptr<Backend> gpu_backend(const CudaOptions& options = {.convolutions = MathMode::fp32, .plan_file = ""}) {
    if (const char* set = std::getenv("MLKD_TEST_WITHOUT_GPU"); set != nullptr && std::string(set) == "1") return make_cpu_backend();
    std::string why;
    auto backend = make_cuda_backend(options, why);
    if (backend == nullptr) MESSAGE("not run: ", why);
    return backend;
}

// Tensors of one device with contents that depend on the order of the calls alone: the same on both devices.
class DeviceTensors {
public:
    // Each tensor has a block of its own: on the simulated GPU it is a fault to leave one.
    explicit DeviceTensors(Backend& backend) : backend_(backend), arena_(backend, 1) {}

    Backend& backend() const { return backend_; }
    PersistentArena& memory() { return arena_; }
    // Uniform in [low, high).
    Tensor input(const Shape& shape, double low = -1, double high = 1, DType dtype = DType::f32) {
        RandomSequence random(2023, Purpose::test, 1, used_++);
        std::vector<double> values(static_cast<std::size_t>(shape.elements()));
        for (double& value : values) value = low + (high - low) * random.uniform();
        return of(values, shape, dtype);
    }
    // NaN throughout: what is not written shows.
    Tensor output(const Shape& shape, DType dtype = DType::f32) {
        return of(std::vector<double>(static_cast<std::size_t>(shape.elements()), std::numeric_limits<double>::quiet_NaN()), shape, dtype);
    }
    Tensor zeros(const Shape& shape, DType dtype = DType::f32) { return arena_.allocate("zeros", dtype, shape); }
    // Integers in [0, count).
    Tensor labels(std::int64_t size, std::uint32_t count) {
        RandomSequence random(2023, Purpose::test, 1, used_++);
        std::vector<std::int32_t> values(static_cast<std::size_t>(size));
        for (std::int32_t& value : values) value = static_cast<std::int32_t>(random.below(count));
        return copied(values.data(), {size}, DType::i32);
    }
    Tensor copied(const void* host, const Shape& shape, DType dtype) {
        const Tensor tensor = arena_.allocate("copied", dtype, shape);
        backend_.copy_from_host(tensor.data, host, tensor.bytes());
        return tensor;
    }
    std::vector<double> fetched(const Tensor& tensor) const {
        std::vector<double> out;
        if (tensor.dtype == DType::i32) return fetched_as<std::int32_t>(tensor);
        with_stored_type(tensor.dtype, [&](auto zero) { out = fetched_as<decltype(zero)>(tensor); });
        return out;
    }

private:
    template <class T> std::vector<double> fetched_as(const Tensor& tensor) const {
        std::vector<T> host(static_cast<std::size_t>(tensor.elements()));
        backend_.copy_to_host(host.data(), tensor.data, tensor.bytes());
        std::vector<double> out;
        for (const T& value : host) out.push_back(static_cast<double>(static_cast<computed_t<T>>(value)));
        return out;
    }
    Tensor of(const std::vector<double>& values, const Shape& shape, DType dtype) {
        Tensor tensor;
        with_stored_type(dtype, [&](auto zero) {
            using T = decltype(zero);
            std::vector<T> host;
            for (const double value : values) host.push_back(T(static_cast<computed_t<T>>(value)));
            tensor = copied(host.data(), shape, dtype);
        });
        return tensor;
    }

    Backend& backend_;
    PersistentArena arena_;
    std::uint32_t used_ = 0;
};

// ‖a − b‖ / ‖b‖, infinite where one is not finite and the other is not the same.
inline double distance(const std::vector<double>& a, const std::vector<double>& b) {
    if (a.size() != b.size()) return std::numeric_limits<double>::infinity();
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        if (a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i]))) {
            norm += std::isfinite(b[i]) ? b[i] * b[i] : 0;
            continue;
        }
        if (!std::isfinite(a[i]) || !std::isfinite(b[i])) return std::numeric_limits<double>::infinity();
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return norm > 0 ? std::sqrt(difference / norm) : std::sqrt(difference);
}

// Runs `work` on both devices; it returns the tensors to compare, named by the caller's order. Checks every one of them.
using DeviceWork = std::function<std::vector<Tensor>(DeviceTensors&)>;
inline void compare_devices(Backend& gpu, double tolerance, const DeviceWork& work) {
    const auto cpu = make_cpu_backend({.threads = 0, .convolution = "direct", .plan_file = ""});
    DeviceTensors on_cpu(*cpu), on_gpu(gpu);
    const std::vector<Tensor> expected = work(on_cpu), seen = work(on_gpu);
    REQUIRE(expected.size() == seen.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CAPTURE(expected[i].shape.text());
        CHECK(distance(on_gpu.fetched(seen[i]), on_cpu.fetched(expected[i])) <= tolerance);
    }
}

}  // namespace mlkd::test
