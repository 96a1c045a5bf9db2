#include "tests/simulated_gpu/cudnn_graph.h"

#include <fmt/format.h>

#include <cstring>
#include <set>

#include "tests/simulated_gpu/cudnn_library.h"

namespace mlkd::simulated {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw Refusal(CUDNN_STATUS_NOT_SUPPORTED, "not simulated on the host: " + what); }

// Reads the attributes of a description one by one. What is left over would have meant something to cuDNN.
class Reader {
public:
    explicit Reader(const Description& description) : description_(description) {}

    template <class T> T one(cudnnBackendAttributeName_t name, T otherwise) {
        const Attribute* const attribute = take(name);
        if (attribute == nullptr) return otherwise;
        copy(&otherwise, name, *attribute, 1, sizeof otherwise);
        return otherwise;
    }
    template <std::size_t rank> std::array<std::int64_t, rank> axes(cudnnBackendAttributeName_t name) {
        std::array<std::int64_t, rank> axes{};
        const Attribute* const attribute = take(name);
        if (attribute == nullptr) refuse(fmt::format("no attribute {}", static_cast<int>(name)));
        copy(axes.data(), name, *attribute, rank, sizeof axes);
        return axes;
    }
    const Description* part(cudnnBackendAttributeName_t name) {
        const Attribute* const attribute = take(name);
        return attribute == nullptr || attribute->parts.empty() ? nullptr : attribute->parts.front().get();
    }
    const Description& needed_part(cudnnBackendAttributeName_t name) {
        const Description* const found = part(name);
        if (found == nullptr) refuse(fmt::format("an operation without attribute {}", static_cast<int>(name)));
        return *found;
    }
    void finish() const {
        for (const auto& [name, attribute] : description_.attributes)
            if (!taken_.contains(name))
                refuse(fmt::format("attribute {} of a descriptor of type {}", static_cast<int>(name), static_cast<int>(description_.type)));
    }

private:
    static void copy(void* to, cudnnBackendAttributeName_t name, const Attribute& attribute, std::size_t count, std::size_t bytes) {
        if (attribute.count != static_cast<std::int64_t>(count) || attribute.values.size() != bytes)
            refuse(fmt::format("{} values of type {} in attribute {}", attribute.count, static_cast<int>(attribute.type),
                               static_cast<int>(name)));
        std::memcpy(to, attribute.values.data(), bytes);
    }
    const Attribute* take(cudnnBackendAttributeName_t name) {
        taken_.insert(name);
        const auto attribute = description_.attributes.find(name);
        return attribute == description_.attributes.end() ? nullptr : &attribute->second;
    }

    const Description& description_;
    std::set<cudnnBackendAttributeName_t> taken_;
};

GraphTensor read_tensor(const Description& description) {
    Reader reader(description);
    GraphTensor tensor{.id = reader.one<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID, 0),
                       .type = reader.one(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_DATA_FLOAT),
                       .extents = reader.axes<4>(CUDNN_ATTR_TENSOR_DIMENSIONS),
                       .strides = reader.axes<4>(CUDNN_ATTR_TENSOR_STRIDES),
                       .alignment = reader.one<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, 1),
                       .is_virtual = reader.one(CUDNN_ATTR_TENSOR_IS_VIRTUAL, false)};
    reader.finish();
    if (tensor.type != CUDNN_DATA_FLOAT && tensor.type != CUDNN_DATA_BFLOAT16) refuse("tensors of other types than float and bfloat16");
    return tensor;
}

// stride, padding
std::pair<int, int> read_convolution(const Description& description) {
    Reader reader(description);
    if (reader.one(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT) != CUDNN_DATA_FLOAT) refuse("sums of other types than float");
    if (reader.one(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CONVOLUTION) != CUDNN_CROSS_CORRELATION)
        refuse("convolutions with flipped filters");
    if (reader.one<std::int64_t>(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, 0) != 2) refuse("convolutions of other than two axes");
    const auto strides = reader.axes<2>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES),
               dilations = reader.axes<2>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
    const auto before = reader.axes<2>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS), behind = reader.axes<2>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
    reader.finish();
    if (dilations != std::array<std::int64_t, 2>{1, 1}) refuse("dilated convolutions");
    if (strides[0] != strides[1] || before[0] != before[1] || before != behind) refuse("strides or padding that differ between the axes");
    return {static_cast<int>(strides[0]), static_cast<int>(before[0])};
}

// The names of the attributes of each kind of convolution.
struct ConvolutionNames {
    Direction direction;
    cudnnBackendAttributeName_t convolution, x, w, y, alpha, beta;
};
std::optional<ConvolutionNames> convolution_names(cudnnBackendDescriptorType_t type) {
    switch (type) {
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
            return ConvolutionNames{Direction::forward,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
            return ConvolutionNames{Direction::backward_data,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
        case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
            return ConvolutionNames{Direction::backward_filter,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                                    CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
        default:
            return std::nullopt;
    }
}

class GraphReader {
public:
    OperationGraph read(const Description& graph) {
        const auto operations = graph.attributes.find(CUDNN_ATTR_OPERATIONGRAPH_OPS);
        if (operations == graph.attributes.end()) refuse("a graph without operations");
        for (const auto& operation : operations->second.parts) {
            if (const auto names = convolution_names(operation->type))
                add_convolution(*operation, *names);
            else if (operation->type == CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
                add_pointwise(*operation);
            else
                refuse(fmt::format("operations of type {}", static_cast<int>(operation->type)));
        }
        return std::move(graph_);
    }

private:
    const GraphTensor& operand(const Description& description) {
        const GraphTensor tensor = read_tensor(description);
        return graph_.tensors.emplace(tensor.id, tensor).first->second;
    }
    const GraphTensor& input(const Description& description) {
        const GraphTensor& tensor = operand(description);
        if (tensor.is_virtual && !graph_.is_result(tensor.id)) refuse("operations before those whose results they read");
        return tensor;
    }

    void add_convolution(const Description& operation, const ConvolutionNames& names) {
        Reader reader(operation);
        const auto [stride, padding] = read_convolution(reader.needed_part(names.convolution));
        const Direction direction = names.direction;
        const auto of = [&](Direction result, cudnnBackendAttributeName_t name) -> const GraphTensor& {
            const Description& part = reader.needed_part(name);
            return result == direction ? operand(part) : input(part);
        };
        const GraphTensor& x = of(Direction::backward_data, names.x);
        const GraphTensor& w = of(Direction::backward_filter, names.w);
        const GraphTensor& y = of(Direction::forward, names.y);
        ConvolutionOperation convolution{.problem = {.direction = direction,
                                                     .n = x.extents[0],
                                                     .h = x.extents[2],
                                                     .w = x.extents[3],
                                                     .c = x.extents[1],
                                                     .k = w.extents[0],
                                                     .r = w.extents[2],
                                                     .s = w.extents[3],
                                                     .stride = stride,
                                                     .padding = padding},
                                         .x = x.id,
                                         .w = w.id,
                                         .y = y.id,
                                         .alpha = reader.one(names.alpha, 1.0f),
                                         .beta = reader.one(names.beta, 0.0f)};
        reader.finish();
        const ConvolutionCall& p = convolution.problem;
        if (w.extents[1] != p.c || y.extents != Extents{p.n, p.k, p.p(), p.q()}) refuse("convolution of extents that do not fit together");
        if (convolution.beta != 0 && graph_.tensors.at(convolution.result()).is_virtual) refuse("a virtual tensor that is added to");
        graph_.operations.emplace_back(convolution);
    }

    void add_pointwise(const Description& operation) {
        Reader reader(operation);
        Reader mode_reader(reader.needed_part(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR));
        PointwiseOperation pointwise{};
        pointwise.mode = mode_reader.one(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_IDENTITY);
        if (mode_reader.one(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT) != CUDNN_DATA_FLOAT)
            refuse("maths of other types than float");
        mode_reader.finish();
        const bool adds = pointwise.mode == CUDNN_POINTWISE_ADD;
        if (!adds && pointwise.mode != CUDNN_POINTWISE_RELU_FWD && pointwise.mode != CUDNN_POINTWISE_IDENTITY)
            refuse(fmt::format("element-wise mode {}", static_cast<int>(pointwise.mode)));
        const GraphTensor& x = input(reader.needed_part(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
        pointwise.x = x.id;
        if (adds) {
            const GraphTensor& b = input(reader.needed_part(CUDNN_ATTR_OPERATION_POINTWISE_BDESC));
            for (std::size_t axis = 0; axis < 4; ++axis)
                if (b.extents[axis] != 1 && b.extents[axis] != x.extents[axis]) refuse("a sum of extents that do not fit together");
            pointwise.b = b.id;
        }
        const GraphTensor& y = operand(reader.needed_part(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
        reader.finish();
        if (y.extents != x.extents) refuse("element-wise operations between extents that differ");
        pointwise.y = y.id;
        graph_.operations.emplace_back(pointwise);
    }

    OperationGraph graph_;
};

}  // namespace

std::size_t GraphTensor::bytes() const {
    std::int64_t last = 0;
    for (std::size_t axis = 0; axis < 4; ++axis) last += (extents[axis] - 1) * strides[axis];
    return static_cast<std::size_t>(last + 1) * element_bytes();
}

std::int64_t ConvolutionOperation::result() const {
    switch (problem.direction) {
        case Direction::backward_data:
            return x;
        case Direction::backward_filter:
            return w;
        case Direction::forward:
            break;
    }
    return y;
}

bool OperationGraph::is_result(std::int64_t id) const {
    for (const auto& operation : operations) {
        const auto* const convolution = std::get_if<ConvolutionOperation>(&operation);
        if (id == (convolution != nullptr ? convolution->result() : std::get<PointwiseOperation>(operation).y)) return true;
    }
    return false;
}

OperationGraph read_graph(const Description& graph) { return GraphReader().read(graph); }

}  // namespace mlkd::simulated
