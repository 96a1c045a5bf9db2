#include "layers/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <span>
#include <string_view>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "engine/kernels/philox.h"
#include "engine/types.h"
#include "layers/ops/batch_norm_kernels.h"

namespace mlkd {
namespace {

constexpr std::int64_t alignment = 16;  // elements: 64 bytes

std::int64_t aligned(std::int64_t elements) { return (elements + alignment - 1) / alignment * alignment; }

bool is_filter(const Parameter& parameter) { return parameter.shape.rank() == 4; }

// PyTorch's shape of an entry: filters (K, R, S, C) are (O, I, H, W) there.
std::vector<std::int64_t> pytorch_shape(const Shape& shape) {
    if (shape.rank() == 4) return {shape[0], shape[3], shape[1], shape[2]};
    std::vector<std::int64_t> extents;
    for (int axis = 0; axis < shape.rank(); ++axis) extents.push_back(shape[axis]);
    return extents;
}

std::string text_of(const std::vector<std::int64_t>& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

// Calls visit(index in our order, index in PyTorch's order) for every element.
template <class Visit> void for_each_element(const Shape& shape, Visit visit) {
    if (shape.rank() != 4) {
        for (std::int64_t i = 0; i < shape.elements(); ++i) visit(i, i);
        return;
    }
    const std::int64_t K = shape[0], R = shape[1], S = shape[2], C = shape[3];
    for (std::int64_t k = 0; k < K; ++k)
        for (std::int64_t r = 0; r < R; ++r)
            for (std::int64_t s = 0; s < S; ++s)
                for (std::int64_t c = 0; c < C; ++c) visit(((k * R + r) * S + s) * C + c, ((k * C + c) * R + r) * S + s);
}

// A standard normal by Box and Muller (1958), in double so that no draw is infinite.
float normal(RandomSequence& random) {
    const double u = 1.0 - random.uniform();  // (0, 1]
    const double v = random.uniform();
    return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v));
}

std::vector<float> draw(Initial initial, std::int64_t fan, std::int64_t elements, std::uint64_t seed, std::uint32_t place) {
    std::vector<float> out(static_cast<std::size_t>(elements));
    RandomSequence random(seed, Purpose::initialisation, 0, place);
    for (float& value : out) {
        switch (initial) {
            case Initial::kaiming_normal_fan_out: value = normal(random) * std::sqrt(2.0f / static_cast<float>(fan)); break;
            case Initial::uniform_fan_in: value = (2.0f * random.uniform() - 1.0f) / std::sqrt(static_cast<float>(fan)); break;
            case Initial::zero: value = 0.0f; break;
            case Initial::one: value = 1.0f; break;
        }
    }
    return out;
}

std::string without_wrapper_prefix(std::string_view name) {
    for (std::string_view prefix : {"module.", "student."})
        if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    return std::string(name);
}

constexpr std::string_view tracked_suffix = ".num_batches_tracked";

}  // namespace

Parameter& ParameterStore::add_parameter(const std::string& name, const Shape& shape, Initial initial, std::int64_t fan) {
    return parameters_.emplace_back(Parameter{name, shape, initial, fan, {}, {}, {}});
}

Buffer& ParameterStore::add_buffer(const std::string& name, const Shape& shape, Initial initial, int updates_per_pass) {
    return buffers_.emplace_back(Buffer{name, shape, initial, updates_per_pass, {}});
}

void ParameterStore::allocate(Backend& backend, PersistentArena& arena, bool with_training, DType precision) {
    MLKD_CHECK(backend_ == nullptr, "parameters: allocated twice");
    backend_ = &backend;
    std::int64_t total = 0, filters = 0, statistics = 0;
    for (const Parameter& parameter : parameters_) {
        total += aligned(parameter.shape.elements());
        if (is_filter(parameter)) filters += aligned(parameter.shape.elements());
    }
    for (const Buffer& buffer : buffers_) statistics += aligned(buffer.shape.elements());
    const DType master = computed_type(precision);
    values_ = arena.allocate("parameters", master, {total});
    statistics_ = arena.allocate("running statistics", master, {statistics});
    if (with_training) {
        gradients_ = arena.allocate("gradients", master, {total});
        arrivals_ = arena.allocate("arrivals", DType::i32, {batch_norm_arrivals});
    }
    if (precision == DType::bf16) {
        rounded_.values = arena.allocate("rounded filters", precision, {filters});
        if (with_training) rounded_.gradients = arena.allocate("gradients of filters", precision, {filters});
    }
    const std::int64_t end_of_filters = place(true, 0, with_training);
    place(false, end_of_filters, with_training);
    std::int64_t offset = 0;
    for (Buffer& buffer : buffers_) {
        buffer.tensor = statistics_.slice(offset, buffer.shape.elements()).reshaped(buffer.shape);
        offset += aligned(buffer.shape.elements());
    }
}

std::int64_t ParameterStore::place(bool filters, std::int64_t offset, bool with_training) {
    const bool rounded = filters && !rounded_.values.empty();
    for (Parameter& parameter : parameters_) {
        if (is_filter(parameter) != filters) continue;
        const std::int64_t size = parameter.shape.elements();
        const auto part = [&](const Tensor& block) { return block.slice(offset, size).reshaped(parameter.shape); };
        parameter.master = part(values_);
        parameter.value = rounded ? part(rounded_.values) : parameter.master;
        if (with_training) parameter.gradient = part(rounded ? rounded_.gradients : gradients_);
        offset += aligned(size);
    }
    return offset;
}

void ParameterStore::round_filters() {
    if (!rounded_.values.empty()) convert(backend_->stream(), rounded_.values, values_.slice(0, rounded_.values.elements()));
}

void ParameterStore::initialise(std::uint64_t seed) {
    std::uint32_t place = 0;
    for (Parameter& parameter : parameters_)
        from_pytorch_order(parameter.master, draw(parameter.initial, parameter.fan, parameter.shape.elements(), seed, place++));
    for (Buffer& buffer : buffers_) from_pytorch_order(buffer.tensor, draw(buffer.initial, 0, buffer.shape.elements(), seed, place++));
    round_filters();
    batches_tracked = 0;
}

std::int64_t ParameterStore::trainable_elements() const {
    std::int64_t total = 0;
    for (const Parameter& parameter : parameters_) total += parameter.shape.elements();
    return total;
}

std::vector<float> ParameterStore::in_pytorch_order(const Tensor& tensor) const {
    std::vector<float> theirs(static_cast<std::size_t>(tensor.elements()));
    with_stored_type(tensor.dtype, [&](auto zero) {
        std::vector<decltype(zero)> ours(theirs.size());
        backend_->copy_to_host(ours.data(), tensor.data, tensor.bytes());
        for_each_element(tensor.shape, [&](std::int64_t our, std::int64_t their) {
            theirs[static_cast<std::size_t>(their)] = static_cast<float>(ours[static_cast<std::size_t>(our)]);
        });
    });
    return theirs;
}

void ParameterStore::from_pytorch_order(const Tensor& tensor, const std::vector<float>& theirs) {
    MLKD_CHECK(static_cast<std::int64_t>(theirs.size()) == tensor.elements(), "parameters: wrong number of elements");
    with_real_type(tensor.dtype, [&](auto zero) {
        std::vector<decltype(zero)> ours(theirs.size());
        for_each_element(tensor.shape, [&](std::int64_t our, std::int64_t their) {
            ours[static_cast<std::size_t>(our)] = theirs[static_cast<std::size_t>(their)];
        });
        backend_->copy_from_host(tensor.data, ours.data(), tensor.bytes());
    });
}

Tensor ParameterStore::part_of(const Tensor& block, const Parameter& parameter) const {
    const auto bytes = static_cast<const std::byte*>(parameter.master.data) - static_cast<const std::byte*>(values_.data);
    return block.slice(bytes / static_cast<std::int64_t>(size_of(values_.dtype)), parameter.shape.elements()).reshaped(parameter.shape);
}

std::map<std::string, HostTensor> ParameterStore::state() const {
    std::map<std::string, HostTensor> out;
    for (const Parameter& parameter : parameters_)
        out[parameter.name] = HostTensor::of<float>(pytorch_shape(parameter.shape), in_pytorch_order(parameter.master));
    for (const Buffer& buffer : buffers_) {
        out[buffer.name] = HostTensor::of<float>(pytorch_shape(buffer.shape), in_pytorch_order(buffer.tensor));
        constexpr std::string_view mean_suffix = ".running_mean";
        if (buffer.name.ends_with(mean_suffix)) {
            const std::string norm = buffer.name.substr(0, buffer.name.size() - mean_suffix.size());
            const std::int64_t tracked = batches_tracked * buffer.updates_per_pass;
            out[norm + std::string(tracked_suffix)] = HostTensor::of<std::int64_t>({}, std::span(&tracked, 1));
        }
    }
    return out;
}

void ParameterStore::set_state(const std::map<std::string, HostTensor>& state, const std::string& origin) {
    std::map<std::string, const HostTensor*> given;
    for (const auto& [name, tensor] : state) given[without_wrapper_prefix(name)] = &tensor;

    // Everything is checked before anything is written: a bad file leaves the network as it was.
    std::vector<std::pair<Tensor, const HostTensor*>> matched;
    const auto match = [&](const std::string& name, const Tensor& tensor) {
        const auto found = given.find(name);
        if (found == given.end())
            throw Error(fmt::format("{}: has no tensor '{}': a checkpoint of another network, or a damaged one", origin, name));
        const HostTensor& host = *found->second;
        if (host.dtype != DType::f32)
            throw Error(fmt::format("{}: tensor '{}' is {}, expected f32", origin, name, name_of(host.dtype)));
        if (host.shape != pytorch_shape(tensor.shape))
            throw Error(fmt::format("{}: tensor '{}' has shape {}, this network needs {}: another model or another number of classes",
                                    origin, name, text_of(host.shape), text_of(pytorch_shape(tensor.shape))));
        matched.emplace_back(tensor, &host);
        given.erase(found);
    };
    for (const Parameter& parameter : parameters_) match(parameter.name, parameter.master);
    for (const Buffer& buffer : buffers_) match(buffer.name, buffer.tensor);
    std::int64_t tracked = 0;
    for (const auto& [name, tensor] : given) {
        if (!name.ends_with(tracked_suffix))
            throw Error(fmt::format("{}: tensor '{}' belongs to another network", origin, name));
        if (tensor->dtype != DType::i64 || tensor->elements() != 1) continue;
        const std::int64_t count = tensor->as<std::int64_t>()[0];
        tracked = tracked == 0 ? count : std::min(tracked, count);  // of a batch norm with one update a pass
    }
    for (const auto& [tensor, host] : matched) {
        const auto elements = host->as<float>();
        from_pytorch_order(tensor, {elements.begin(), elements.end()});
    }
    round_filters();
    batches_tracked = tracked;
}

}  // namespace mlkd
