// The simulated cuDNN through its own functions: convolutions equal their definition, and what a GPU would punish is found.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/cuda/convolution.h"
#include "engine/cuda/device_memory.h"
#include "tests/cuda/convolution_cases.h"
#include "tests/engine/buffers.h"
#include "tests/engine/naive_convolution.h"
#include "tests/simulated/device.h"

using namespace mlkd;
using namespace mlkd::test;
using cuda::check_cuda;
using doctest::Contains;

namespace {

class SimulatedCudnn {
public:
    SimulatedCudnn() {
        cudnn.check(cudnn.create(&handle), "starting");
        cudnn.check(cudnn.set_stream(handle, stream.get()), "setting the stream");
    }
    ~SimulatedCudnn() { cudnn.destroy(handle); }
    SimulatedCudnn(const SimulatedCudnn&) = delete;

    // Whether the real cuDNN is installed, which makes the plans.
    bool plans() const {
        cudnnBackendDescriptor_t descriptor = nullptr;
        if (cudnn.create_descriptor(CUDNN_BACKEND_TENSOR_DESCRIPTOR, &descriptor) != CUDNN_STATUS_SUCCESS) {
            MESSAGE("not run: ", cudnn.reason(CUDNN_STATUS_NOT_SUPPORTED));
            return false;
        }
        cudnn.destroy_descriptor(descriptor);
        return true;
    }
    void wait() const { check_cuda(cudaStreamSynchronize(stream.get()), "waiting"); }

    cuda::Cudnn cudnn = cuda::load_cudnn();
    cuda::StreamHandle stream = cuda::make_stream();
    cudnnHandle_t handle = nullptr;
};

// A buffer's contents in device memory.
template <class T>
class Uploaded {
public:
    Uploaded(const SimulatedCudnn& gpu, BufferOf<T>& host) : gpu_(gpu), host_(host) {
        check_cuda(cudaMalloc(&memory_, bytes()), "allocating");
        check_cuda(cudaMemcpyAsync(memory_, host.data(), bytes(), cudaMemcpyHostToDevice, gpu.stream.get()), "copying");
        gpu.wait();
    }
    ~Uploaded() { cudaFree(memory_); }
    Uploaded(const Uploaded&) = delete;

    void* address() const { return memory_; }
    const BufferOf<T>& fetched() {
        check_cuda(cudaMemcpyAsync(host_.data(), memory_, bytes(), cudaMemcpyDeviceToHost, gpu_.stream.get()), "copying");
        gpu_.wait();
        return host_;
    }

private:
    std::size_t bytes() const { return static_cast<std::size_t>(host_.shape().elements()) * sizeof(T); }

    const SimulatedCudnn& gpu_;
    BufferOf<T>& host_;
    void* memory_ = nullptr;
};

// The value with 10 bits of mantissa that is nearest.
float tf32(float value) {
    int exponent = 0;
    const float mantissa = std::frexp(value, &exponent);
    return std::ldexp(std::round(std::ldexp(mantissa, 11)), exponent - 11);
}

std::vector<float> factors(const std::vector<float>& values, bool rounded) {
    std::vector<float> out = values;
    if (rounded) std::transform(out.begin(), out.end(), out.begin(), tf32);
    return out;
}

enum class Cores { none, tensor };

// The first engine proposed that uses tensor cores, or none; no plan where cuDNN proposes no such engine.
std::unique_ptr<cuda::ConvolutionPlan> plan_with(const cuda::ConvolutionGraph& graph, Cores cores, bool needs_workspace = false) {
    const auto without = cuda::proposed_engines(graph, {.tensor_cores = false});
    std::string why;
    for (const cuda::EngineChoice& choice : cuda::proposed_engines(graph, {.tensor_cores = cores == Cores::tensor})) {
        const bool plain = std::find(without.begin(), without.end(), choice) != without.end();
        if (plain != (cores == Cores::none)) continue;
        auto plan = cuda::ConvolutionPlan::make(graph, choice, why);
        if (plan != nullptr && plan->workspace_bytes() <= cuda::workspace_limit && (plan->workspace_bytes() > 0 || !needs_workspace))
            return plan;
    }
    return nullptr;
}

// All directions and epilogues of a case. Returns how many had an engine with such cores.
template <class T>
int check_case(const SimulatedCudnn& gpu, const ConvolutionCase& c, Cores cores, double tolerance) {
    const bool rounds = cores == Cores::tensor && sizeof(T) == sizeof(float);
    const NaiveConvolution naive(c.x, c.w, c.convolution);
    int checked = 0;
    for (int part = 0; part < 11; ++part) {
        ConvolutionCall problem{.direction = part < 8    ? Direction::forward
                                                : part < 10 ? Direction::backward_data
                                                            : Direction::backward_filter,
                                   .n = c.x[0],
                                   .h = c.x[1],
                                   .w = c.x[2],
                                   .c = c.x[3],
                                   .k = c.w[0],
                                   .r = c.w[1],
                                   .s = c.w[2],
                                   .stride = c.convolution.stride,
                                   .padding = c.convolution.padding,
                                   .bias = part < 8 && (part & 1) != 0,
                                   .residual = part < 8 && (part & 2) != 0,
                                   .relu = part < 8 && (part & 4) != 0,
                                   .dtype = dtype_of<T>(),
                                   .accumulate = part == 9};
        problem = cuda::supported_form(problem);
        CAPTURE(problem.text());
        const cuda::ConvolutionGraph graph({gpu.cudnn, gpu.handle}, problem);
        const auto plan = plan_with(graph, cores);
        if (plan == nullptr) continue;
        ++checked;
        BufferOf<T> x(c.x), w(c.w), y(naive.y), bias({c.w[0]}), residual(naive.y);
        if (problem.direction != Direction::backward_data || problem.accumulate) x.fill_random(1);
        if (problem.direction != Direction::backward_filter) w.fill_random(2);
        if (problem.direction != Direction::forward) y.fill_random(3);
        bias.fill_random(4), residual.fill_random(5);
        const auto x_before = x.values(), w_before = w.values(), y_before = y.values();
        const auto x_factors = factors(x_before, rounds), w_factors = factors(w_before, rounds), y_factors = factors(y_before, rounds);
        Uploaded gx(gpu, x), gw(gpu, w), gy(gpu, y), gbias(gpu, bias), gresidual(gpu, residual);
        const auto workspace = cuda::allocate_device_memory(plan->workspace_bytes() + 1, gpu.stream.get());
        plan->execute(gpu.handle,
                      {gx.address(), gw.address(), gy.address(), problem.bias ? gbias.address() : nullptr,
                       problem.residual ? gresidual.address() : nullptr},
                      workspace.get());
        gpu.wait();
        Values expected;
        switch (problem.direction) {
            case Direction::forward:
                expected = naive.forward(x_factors.data(), w_factors.data());
                for (std::size_t i = 0; i < expected.size(); ++i) {
                    const auto index = static_cast<std::int64_t>(i);
                    if (problem.bias) expected[i] += double{bias[index % c.w[0]]};
                    if (problem.residual) expected[i] += double{residual[index]};
                    if (problem.relu) expected[i] = std::fmax(0.0, expected[i]);
                }
                CHECK(relative_difference(gy.fetched(), expected) < tolerance);
                break;
            case Direction::backward_data:
                expected = naive.backward_data(y_factors.data(), w_factors.data());
                for (std::size_t i = 0; problem.accumulate && i < expected.size(); ++i) expected[i] += double{x_before[i]};
                CHECK(relative_difference(gx.fetched(), expected) < tolerance);
                break;
            case Direction::backward_filter:
                expected = naive.backward_filter(x_factors.data(), y_factors.data());
                CHECK(relative_difference(gw.fetched(), expected) < tolerance);
        }
    }
    return checked;
}

using Axes = std::array<std::int64_t, 4>;

// A tensor whose extents and strides count axes as (N, C, H, W).
cuda::Descriptor strided_tensor(const cuda::Cudnn& cudnn, std::int64_t id, const Axes& extents, const Axes& strides) {
    cuda::Descriptor tensor(cudnn, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    tensor.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
    tensor.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT);
    tensor.set_array<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS, extents);
    tensor.set_array<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES, strides);
    tensor.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, std::int64_t{16});
    tensor.finalize("tensor");
    return tensor;
}

// The plan that cuDNN proposes first for y (N, K, H, W) = conv(x (N, C, H, W), w (K, C, 3, 3)) with padding 1.
cuda::Descriptor strided_plan(const SimulatedCudnn& gpu, const cuda::Descriptor& x, const cuda::Descriptor& w, const cuda::Descriptor& y) {
    constexpr std::array<std::int64_t, 2> ones{1, 1};
    cuda::Descriptor convolution(gpu.cudnn, CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    convolution.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
    convolution.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
    convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, std::int64_t{2});
    for (const auto name : {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS,
                            CUDNN_ATTR_CONVOLUTION_POST_PADDINGS})
        convolution.set_array<std::int64_t>(name, ones);
    convolution.finalize("convolution");
    std::vector<cuda::Descriptor> operations;
    cuda::Descriptor& operation = operations.emplace_back(gpu.cudnn, CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, convolution);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, x);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, w);
    operation.set_descriptor(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, y);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 0.5f);
    operation.set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f);
    operation.finalize("operation");
    cuda::Descriptor graph(gpu.cudnn, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.set_descriptors(CUDNN_ATTR_OPERATIONGRAPH_OPS, operations);
    graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, gpu.handle);
    graph.finalize("graph");
    cuda::Descriptor heuristics(gpu.cudnn, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristics.set_descriptor(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
    heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
    heuristics.finalize("heuristics");
    const auto configurations = heuristics.get_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, 1);
    REQUIRE(!configurations.empty());
    cuda::Descriptor plan(gpu.cudnn, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.set_descriptor(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configurations.front());
    plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, gpu.handle);
    plan.finalize("plan");
    return plan;
}

// A forward convolution, and an execution of it that is right unless a test spoils it.
struct Execution {
    explicit Execution(const SimulatedCudnn& of) : gpu(of), plan(plan_with(graph, Cores::none, true)) {
        REQUIRE(plan != nullptr);
        for (auto& [memory, bytes] : {std::pair{&x, x_bytes}, std::pair{&w, w_bytes}, std::pair{&y, y_bytes}})
            *memory = cuda::allocate_device_memory(bytes, gpu.stream.get());
        workspace = cuda::allocate_device_memory(std::max<std::size_t>(plan->workspace_bytes(), 1), gpu.stream.get());
        operands = {.x = x.get(), .w = w.get(), .y = y.get()};
    }
    void run() const { plan->execute(gpu.handle, operands, workspace.get()); }
    std::string fault() const {
        return fault_of([&] { run(); });
    }
    bool faults_with(const char* part) const { return says(fault(), part); }

    static constexpr std::size_t x_bytes = 2 * 8 * 8 * 16 * 4, w_bytes = 32 * 3 * 3 * 16 * 4, y_bytes = 2 * 8 * 8 * 32 * 4;
    const SimulatedCudnn& gpu;
    cuda::ConvolutionGraph graph{
        {gpu.cudnn, gpu.handle},
        {.direction = Direction::forward, .n = 2, .h = 8, .w = 8, .c = 16, .k = 32, .r = 3, .s = 3, .stride = 1, .padding = 1}};
    std::unique_ptr<cuda::ConvolutionPlan> plan;
    cuda::DeviceMemory x, w, y, workspace;
    ConvolutionOperands operands;
};

}  // namespace

TEST_CASE("convolutions of the simulated cuDNN equal their definition, in the precision of their engine") {
    const SimulatedCudnn gpu;
    if (!gpu.plans()) return;
    int without = 0, with = 0, rounded = 0;
    for (const ConvolutionCase& c : convolution_cases) {
        CAPTURE(c.x.text());
        without += check_case<float>(gpu, c, Cores::none, 1e-5);
        with += check_case<float>(gpu, c, Cores::tensor, 1e-5);  // against factors that are rounded likewise
        rounded += check_case<bfloat16>(gpu, c, Cores::tensor, 1.0 / 256);
    }
    CHECK(without == 77);
    CHECK(with >= 30);
    CHECK(rounded >= 30);
}

TEST_CASE("the simulated cuDNN reads and writes by the strides of the descriptors") {
    const SimulatedCudnn gpu;
    if (!gpu.plans()) return;
    constexpr std::int64_t N = 2, C = 8, H = 5, W = 6, K = 16, gap = 64;
    // x and w with channels outermost and a gap between images; y with channels innermost and a gap likewise.
    const Axes x_strides{C * H * W + gap, H * W, W, 1}, w_strides{C * 9, 9, 3, 1}, y_strides{H * W * K + gap, 1, W * K, K};
    const cuda::Descriptor x = strided_tensor(gpu.cudnn, 1, {N, C, H, W}, x_strides),
                           w = strided_tensor(gpu.cudnn, 2, {K, C, 3, 3}, w_strides),
                           y = strided_tensor(gpu.cudnn, 3, {N, K, H, W}, y_strides);
    const cuda::Descriptor plan = strided_plan(gpu, x, w, y);
    Buffer x_values({N * x_strides[0]}), w_values({K * w_strides[0]}), y_values({N * y_strides[0]});
    x_values.fill_random(1), w_values.fill_random(2);
    Uploaded gx(gpu, x_values), gw(gpu, w_values), gy(gpu, y_values);
    const auto workspace_bytes = static_cast<std::size_t>(plan.get<std::int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE));
    const auto workspace = cuda::allocate_device_memory(workspace_bytes + 1, gpu.stream.get());
    const std::vector<std::int64_t> ids{1, 2, 3};
    const std::vector<void*> addresses{gx.address(), gw.address(), gy.address()};
    cuda::Descriptor pack(gpu.cudnn, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.set_array<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, ids);
    pack.set_pointers(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, addresses);
    pack.set_pointer(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, workspace.get());
    pack.finalize("operands");
    gpu.cudnn.check(gpu.cudnn.execute(gpu.handle, plan.raw(), pack.raw()), "running");
    gpu.wait();
    gy.fetched();
    double worst = 0;
    for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t k = 0; k < K; ++k)
            for (std::int64_t h = 0; h < H; ++h)
                for (std::int64_t v = 0; v < W; ++v) {
                    double sum = 0;
                    for (std::int64_t c = 0; c < C; ++c)
                        for (std::int64_t r = 0; r < 3; ++r)
                            for (std::int64_t s = 0; s < 3; ++s) {
                                const std::int64_t row = h + r - 1, column = v + s - 1;
                                if (row < 0 || row >= H || column < 0 || column >= W) continue;
                                sum += double{x_values[n * x_strides[0] + c * x_strides[1] + row * x_strides[2] + column]} *
                                       w_values[k * w_strides[0] + c * w_strides[1] + r * 3 + s];
                            }
                    const double got = y_values[n * y_strides[0] + k * y_strides[1] + h * y_strides[2] + v * y_strides[3]];
                    worst = std::fmax(worst, std::fabs(got - 0.5 * sum));
                }
    CHECK(worst < 5e-3);                     // the engine may round factors to TF32
    CHECK(std::isnan(y_values[H * W * K]));  // the gap is as it was
    // One image more than the memory holds.
    const cuda::Descriptor more_x = strided_tensor(gpu.cudnn, 1, {N + 1, C, H, W}, x_strides),
                           more_y = strided_tensor(gpu.cudnn, 3, {N + 1, K, H, W}, y_strides);
    const cuda::Descriptor too_far = strided_plan(gpu, more_x, w, more_y);
    CHECK(says(fault_of([&] { gpu.cudnn.execute(gpu.handle, too_far.raw(), pack.raw()); }), "is not in one allocation"));
}

TEST_CASE("a plan of the simulated cuDNN with wrong memory ends the program") {
    const SimulatedCudnn gpu;
    if (!gpu.plans()) return;
    Execution execution(gpu);
    CHECK(execution.fault() == "");
    const ConvolutionOperands right = execution.operands;

    std::vector<float> host(Execution::x_bytes / sizeof(float));
    execution.operands.x = host.data();
    CHECK(execution.faults_with("tensor 1 (8192 bytes from"));
    execution.operands = right;
    execution.operands.x = execution.x.get() + 4;  // reaches 4 bytes over the end
    CHECK(execution.faults_with("is not in one allocation of device memory"));
    const auto larger = cuda::allocate_device_memory(Execution::y_bytes + 256, gpu.stream.get());
    execution.operands.x = larger.get() + 4;
    CHECK(execution.faults_with("is not aligned to 16 bytes"));
    execution.operands.x = larger.get() + 16;
    CHECK(execution.fault() == "");
    execution.operands.y = larger.get();
    CHECK(execution.faults_with("tensor 3 overlaps tensor 1"));
    execution.operands = right;
    execution.operands.y = execution.w.get();  // large enough for a filter, not for y
    CHECK(execution.fault() != "");
    execution.operands = right;
    execution.workspace.reset();
    CHECK_THROWS_WITH_AS(execution.run(), Contains("workspace"), Error);
}
