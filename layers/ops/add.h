#pragma once
// y = a + b.
#include <memory>
#include <string>

#include "layers/builder.h"

namespace mlkd {

class Add final : public Op {
public:
    explicit Add(std::string name) : name_(std::move(name)) {}

    std::string name() const override { return name_; }
    std::string kind() const override { return "add"; }
    Shape output(const std::vector<Shape>& x) const override;
    void forward(OpRun& run, const OpTensors& t) const override;
    // dL/da and dL/db are dL_dy.
    void backward_inputs(OpRun&, const OpTensors&, const Tensor&, const std::vector<InputGradient>&) const override {}
    bool backward_reads_inputs() const override { return false; }
    bool passes_gradient(int) const override { return true; }
    int in_place() const override { return 0; }
    std::shared_ptr<Op> folded(const std::shared_ptr<Op>& producer, int input) const override;

private:
    std::string name_;
};

inline Value add(Builder& b, const std::string& name, Value x, Value other) {
    return b.graph.add(std::make_shared<Add>(name), {x, other});
}

}  // namespace mlkd
