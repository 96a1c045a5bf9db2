#include "tests/simulated_gpu/cudnn_evaluation.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>

#include "engine/bfloat16.h"

namespace mlkd::simulated {
namespace {

constexpr std::size_t N = 0, C = 1, H = 2, W = 3;

std::size_t elements(const Extents& e) { return static_cast<std::size_t>(e[N] * e[C] * e[H] * e[W]); }

// visit(offset by the strides, index when packed as (N, H, W, C)) for the first element of every line of C elements.
template <class Visit> void for_each_line(const Extents& e, const Extents& strides, const Visit& visit) {
    std::int64_t packed = 0;
    for (std::int64_t n = 0; n < e[N]; ++n)
        for (std::int64_t h = 0; h < e[H]; ++h)
            for (std::int64_t w = 0; w < e[W]; ++w, packed += e[C]) visit(n * strides[N] + h * strides[H] + w * strides[W], packed);
}

template <class T> void gather(float* values, const GraphTensor& tensor, const void* address) {
    const auto* const from = static_cast<const T*>(address);
    const std::int64_t channels = tensor.extents[C], stride = tensor.strides[C];
    for_each_line(tensor.extents, tensor.strides, [&](std::int64_t offset, std::int64_t packed) {
        if (stride == 1)
            for (std::int64_t c = 0; c < channels; ++c) values[packed + c] = static_cast<float>(from[offset + c]);
        else
            for (std::int64_t c = 0; c < channels; ++c) values[packed + c] = static_cast<float>(from[offset + c * stride]);
    });
}

template <class T> void scatter_as(const GraphTensor& tensor, const float* values, void* address) {
    auto* const to = static_cast<T*>(address);
    const std::int64_t channels = tensor.extents[C], stride = tensor.strides[C];
    for_each_line(tensor.extents, tensor.strides, [&](std::int64_t offset, std::int64_t packed) {
        if (stride == 1)
            for (std::int64_t c = 0; c < channels; ++c) to[offset + c] = T(values[packed + c]);
        else
            for (std::int64_t c = 0; c < channels; ++c) to[offset + c * stride] = T(values[packed + c]);
    });
}

// The nearest number with 10 bits of mantissa; halves go away from zero, as the conversion of a GPU rounds.
float tf32(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const bool finite = (bits & 0x7f800000) != 0x7f800000;
    return finite ? std::bit_cast<float>((bits + 0x1000) & ~std::uint32_t{0x1fff}) : value;
}

std::vector<float> rounded(std::vector<float> values, Factors factors) {
    if (factors == Factors::tf32)
        for (float& value : values) value = tf32(value);
    if (factors == Factors::bfloat16)
        for (float& value : values) value = static_cast<float>(bfloat16(value));
    return values;
}

}  // namespace

void Evaluator::run(const OperationGraph& graph, const std::map<std::int64_t, void*>& addresses, Factors factors) {
    const std::lock_guard lock(mutex_);
    std::map<std::int64_t, Values> values;
    for (const auto& [id, tensor] : graph.tensors)
        if (!tensor.is_virtual && !graph.is_result(id)) values[id] = gathered(tensor, addresses.at(id));
    const auto finish = [&](std::int64_t id, Values result) {
        const GraphTensor& tensor = graph.tensors.at(id);
        if (!tensor.is_virtual) scatter(tensor, result, addresses.at(id));
        values[id] = std::move(result);
    };
    for (const auto& operation : graph.operations) {
        if (const auto* const convolution = std::get_if<ConvolutionOperation>(&operation)) {
            const std::int64_t id = convolution->result();
            if (convolution->beta != 0) values[id] = gathered(graph.tensors.at(id), addresses.at(id));
            finish(id, convolved(*convolution, values, factors));
        } else {
            const auto& pointwise = std::get<PointwiseOperation>(operation);
            finish(pointwise.y, combined(pointwise, values));
        }
    }
}

Evaluator::Values Evaluator::gathered(const GraphTensor& tensor, const void* address) {
    Values result{tensor.extents, std::vector<float>(elements(tensor.extents))};
    tensor.type == CUDNN_DATA_BFLOAT16 ? gather<bfloat16>(result.values.data(), tensor, address)
                                       : gather<float>(result.values.data(), tensor, address);
    return result;
}

void Evaluator::scatter(const GraphTensor& tensor, const Values& values, void* address) {
    tensor.type == CUDNN_DATA_BFLOAT16 ? scatter_as<bfloat16>(tensor, values.values.data(), address)
                                       : scatter_as<float>(tensor, values.values.data(), address);
}

Evaluator::Values Evaluator::convolved(const ConvolutionOperation& operation, const std::map<std::int64_t, Values>& values,
                                       Factors factors) {
    const ConvolutionCall& p = operation.problem;
    const std::int64_t id = operation.result();
    const std::map<std::int64_t, Extents> extents{
        {operation.x, {p.n, p.c, p.h, p.w}}, {operation.w, {p.k, p.c, p.r, p.s}}, {operation.y, {p.n, p.k, p.p(), p.q()}}};
    Values result{extents.at(id), std::vector<float>(elements(extents.at(id)))};
    std::map<std::int64_t, std::vector<float>> factor;
    const auto address_of = [&](std::int64_t operand) {
        if (operand == id) return result.values.data();
        const std::vector<float>& given = values.at(operand).values;
        if (factors == Factors::exact) return const_cast<float*>(given.data());  // is read only
        return (factor[operand] = rounded(given, factors)).data();
    };
    convolutions_.run(p, {.x = address_of(operation.x), .w = address_of(operation.w), .y = address_of(operation.y)});
    if (operation.alpha != 1)
        for (float& value : result.values) value *= operation.alpha;
    if (operation.beta != 0) {
        const std::vector<float>& before = values.at(id).values;
        for (std::size_t i = 0; i < before.size(); ++i) result.values[i] += operation.beta * before[i];
    }
    return result;
}

Evaluator::Values Evaluator::combined(const PointwiseOperation& operation, const std::map<std::int64_t, Values>& values) {
    Values result = values.at(operation.x);
    if (operation.mode == CUDNN_POINTWISE_RELU_FWD)
        for (float& value : result.values) value = value < 0 ? 0 : value;  // a NaN stays one: it shows what was never written
    if (operation.mode == CUDNN_POINTWISE_ADD) {
        const Values& b = values.at(*operation.b);
        Extents strides{b.extents[H] * b.extents[W] * b.extents[C], 1, b.extents[W] * b.extents[C], b.extents[C]};
        for (std::size_t axis = 0; axis < strides.size(); ++axis)
            if (b.extents[axis] == 1) strides[axis] = 0;
        for_each_line(result.extents, strides, [&](std::int64_t offset, std::int64_t packed) {
            float* const line = result.values.data() + packed;
            const float* const added = b.values.data() + offset;
            if (strides[C] == 1)
                for (std::int64_t c = 0; c < result.extents[C]; ++c) line[c] += added[c];
            else
                for (std::int64_t c = 0; c < result.extents[C]; ++c) line[c] += added[0];
        });
    }
    return result;
}

}  // namespace mlkd::simulated
