#include "engine/graph.h"

#include <algorithm>
#include <utility>

#include "engine/error.h"

namespace mlkd {

Value Graph::add(std::shared_ptr<Op> op, const std::vector<Value>& inputs) {
    for (const Value input : inputs)
        MLKD_CHECK(input.exists() && input.index < static_cast<int>(shapes_.size()), "graph: " + op->name() + " reads a value that is not there");
    nodes_.push_back({std::move(op), inputs});
    shapes_.push_back(nodes_.back().op->output(input_shapes(nodes_.back())));
    return result();
}

std::vector<Shape> Graph::input_shapes(const Node& node) const {
    std::vector<Shape> shapes;
    for (const Value input : node.inputs) shapes.push_back(shape(input));
    return shapes;
}

double Graph::flop_per_image() const {
    double total = 0;
    for (const Node& node : nodes_) total += node.op->flop(input_shapes(node));
    return total;
}

Graph Graph::folded() const {
    std::vector<int> readers(shapes_.size(), 0);
    for (const Node& node : nodes_)
        for (const Value input : node.inputs) ++readers[static_cast<std::size_t>(input.index)];

    std::vector<Node> merged = nodes_;  // a node without an operation has gone into another one
    for (Node& node : merged) {
        for (int k = 0; k < static_cast<int>(node.inputs.size()); ++k) {
            const Value input = node.inputs[static_cast<std::size_t>(k)];
            if (input.index == 0 || readers[static_cast<std::size_t>(input.index)] != 1) continue;
            Node& producer = merged[static_cast<std::size_t>(input.index - 1)];
            std::shared_ptr<Op> both = node.op->folded(producer.op, k);
            if (both == nullptr) continue;
            std::vector<Value> inputs = producer.inputs;
            for (int other = 0; other < static_cast<int>(node.inputs.size()); ++other)
                if (other != k) inputs.push_back(node.inputs[static_cast<std::size_t>(other)]);
            node = {std::move(both), std::move(inputs)};
            producer.op = nullptr;
            break;
        }
    }

    Graph out(shapes_[0]);
    std::vector<Value> now(shapes_.size());  // where a value of this graph is in the other one
    now[0] = out.images();
    for (std::size_t i = 0; i < merged.size(); ++i) {
        if (merged[i].op == nullptr) continue;
        std::vector<Value> inputs;
        for (const Value input : merged[i].inputs) inputs.push_back(now[static_cast<std::size_t>(input.index)]);
        now[i + 1] = out.add(merged[i].op, inputs);
    }
    return out;
}

}  // namespace mlkd
