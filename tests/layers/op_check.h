#pragma once
// What every operation of a network must hold, whatever it computes: check_op(). See ops.cpp for the list.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "engine/graph.h"
#include "fixture.h"
#include "layers/parameters.h"
#include "naive.h"
#include "tests/support/recording_backend.h"

namespace mlkd::test {

struct OpCase {
    std::string name;
    std::function<std::shared_ptr<Op>(ParameterStore&)> make;
    std::vector<Shape> x;  // of its inputs, per image
    std::int64_t batch = 3;
    int views = 1;
    bool evaluates_as_it_trains = true;
    bool convolves = false;  // which needs a processor with AVX-512 in bfloat16
};

// Tensors that start as NaNs, with a guard behind each.
class Room {
public:
    ~Room() {
        for (const auto& block : blocks_)
            for (std::size_t i = block.size() - guard; i < block.size(); ++i) CHECK(block[i] == std::byte{0xa5});
    }
    Tensor poisoned(const TensorSpec& spec) {
        Tensor tensor{nullptr, spec.dtype, DeviceKind::cpu, spec.shape};
        auto& block = blocks_.emplace_back(tensor.bytes() + guard, std::byte{0xff});  // all ones is a NaN in every type
        std::memset(block.data() + tensor.bytes(), 0xa5, guard);
        tensor.data = block.data();
        return tensor;
    }
    Tensor copy_of(const std::vector<double>& from, const TensorSpec& spec) {
        const Tensor tensor = poisoned(spec);
        with_stored_type(spec.dtype, [&](auto zero) {
            using S = decltype(zero);
            for (std::size_t i = 0; i < from.size(); ++i) tensor.as<S>()[i] = static_cast<S>(static_cast<computed_t<S>>(from[i]));
        });
        return tensor;
    }

private:
    static constexpr std::size_t guard = 64;
    std::deque<std::vector<std::byte>> blocks_;
};

struct OpResult {
    std::vector<double> y;
    std::vector<std::vector<double>> dL_dx, dL_dparameters;
};

// One operation with parameters, on a backend, in a type. All numbers come from one seed, so that two of them can be compared.
class OpUnderTest {
public:
    OpUnderTest(const OpCase& c, Backend& backend, DType stored) : case_(c), backend_(backend), stored_(stored), arena_(backend) {
        op_ = c.make(store_);
        store_.allocate(backend, arena_, true, stored);
        store_.initialise(7);
        RandomSequence random(11, Purpose::test, 0, 0);
        const auto draw = [&](std::int64_t count, double low, double high) {
            std::vector<double> out;
            for (std::int64_t i = 0; i < count; ++i) out.push_back(low + (high - low) * (random.uniform() + 0x1p-24 * random.uniform()));
            return out;
        };
        for (const Parameter& parameter : store_.parameters())  // norms start as ones and zeros, which hide faults
            if (parameter.shape.rank() == 1) set(parameter.master, draw(parameter.shape.elements(), 0.5, 1.5));
        for (const Shape& shape : c.x) x_.push_back(draw(c.batch * shape.elements(), -1, 1));
        y_shape_ = with_batch(op_->output(c.x));
        seed_ = draw(y_shape_.elements(), -1, 1);
        for (const Shape& shape : c.x) earlier_.push_back(draw(c.batch * shape.elements(), -1, 1));
    }

    const Op& op() const { return *op_; }
    std::size_t inputs() const { return case_.x.size(); }
    std::vector<double>& x(std::size_t k) { return x_[k]; }
    std::deque<Parameter>& parameters() { return store_.parameters(); }
    const std::vector<double>& seed() const { return seed_; }
    const std::vector<double>& earlier(std::size_t k) const { return earlier_[k]; }

    std::vector<double> forward(bool in_place = false) {
        Room room;
        return values(prepare(room, in_place, false).y);
    }
    std::vector<double> evaluate(bool in_place = false) {
        Room room;
        return values(prepare(room, in_place, true).y);
    }
    double loss() {
        const std::vector<double> y = forward();
        double sum = 0;
        for (std::size_t i = 0; i < y.size(); ++i) sum += seed_[i] * y[i];
        return sum;
    }
    // L = Σ seed · y. add: onto earlier() where the operation can.
    OpResult gradients(bool add = false) {
        Room room;
        OpTensors t = prepare(room, false, false);
        OpResult out{values(t.y), {}, {}};
        t.scratch.clear();
        for (const TensorSpec& spec : op_->memory(t, case_.views).backward_scratch) t.scratch.push_back(room.poisoned(spec));
        if (!op_->backward_reads_inputs())
            for (Tensor& x : t.x) x.data = nullptr;
        if (!op_->backward_reads_result()) t.y.data = nullptr;
        for (const Parameter& parameter : store_.parameters()) std::memset(parameter.gradient.data, 0xff, parameter.gradient.bytes());
        const Tensor dL_dy = room.copy_of(seed_, {t.y.dtype, t.y.shape});
        std::vector<InputGradient> gradients(inputs());
        for (std::size_t k = 0; k < inputs(); ++k) {
            const TensorSpec spec{stored_, with_batch(case_.x[k])};
            const int input = static_cast<int>(k);
            if (op_->passes_gradient(input)) continue;
            const bool adds = add && op_->adds_gradient(input);
            gradients[k] = {adds ? room.copy_of(earlier_[k], spec) : room.poisoned(spec), adds};
        }
        OpRun run{backend_, case_.views};
        op_->backward_parameters(run, t, dL_dy);
        op_->backward_inputs(run, t, dL_dy, gradients);
        for (std::size_t k = 0; k < inputs(); ++k)
            out.dL_dx.push_back(values(op_->passes_gradient(static_cast<int>(k)) ? dL_dy : gradients[k].dL_dx));
        for (const Parameter& parameter : store_.parameters()) out.dL_dparameters.push_back(values(parameter.gradient));
        if (!op_->changes_gradient()) CHECK(values(dL_dy) == values(room.copy_of(seed_, {dL_dy.dtype, dL_dy.shape})));
        return out;
    }

private:
    Shape with_batch(const Shape& s) const {
        return s.rank() == 1 ? Shape{case_.batch, s[0]} : Shape{case_.batch, s[0], s[1], s[2]};
    }
    static void set(const Tensor& tensor, const std::vector<double>& from) {
        with_real_type(tensor.dtype, [&](auto zero) {
            for (std::size_t i = 0; i < from.size(); ++i) tensor.as<decltype(zero)>()[i] = static_cast<decltype(zero)>(from[i]);
        });
    }
    OpTensors prepare(Room& room, bool in_place, bool evaluation) {
        OpTensors t;
        for (std::size_t k = 0; k < inputs(); ++k) t.x.push_back(room.copy_of(x_[k], {stored_, with_batch(case_.x[k])}));
        t.y = Tensor{nullptr, op_->type(stored_), DeviceKind::cpu, y_shape_};
        const OpMemory memory = op_->memory(t, case_.views);
        for (const TensorSpec& spec : memory.kept) t.kept.push_back(room.poisoned(spec));
        for (const TensorSpec& spec : memory.forward_scratch) t.scratch.push_back(room.poisoned(spec));
        t.y = in_place ? t.x[static_cast<std::size_t>(op_->in_place())] : room.poisoned({t.y.dtype, t.y.shape});
        OpRun run{backend_, case_.views};
        if (evaluation)
            op_->evaluate(run, t);
        else
            op_->forward(run, t);
        return t;
    }

    OpCase case_;
    Backend& backend_;
    DType stored_;
    PersistentArena arena_;
    ParameterStore store_;
    std::shared_ptr<Op> op_;
    Shape y_shape_;
    std::vector<std::vector<double>> x_, earlier_;
    std::vector<double> seed_;
};

// Each gradient is the slope of L along random directions, by central differences in double.
inline void check_slopes(const OpCase& c, Backend& backend) {
    OpUnderTest op(c, backend, DType::f64);
    const OpResult result = op.gradients();
    RandomSequence random(13, Purpose::test, 0, 0);
    const auto check = [&](double* at, const std::vector<double>& gradient) {
        std::vector<double> direction, start(at, at + gradient.size());
        double slope = 0, size = 0;
        for (const double g : gradient) {
            direction.push_back(2 * random.uniform() - 1);
            slope += g * direction.back();
            size += g * g;
        }
        const double h = 1e-7;
        const auto moved = [&](double step) {
            for (std::size_t i = 0; i < start.size(); ++i) at[i] = start[i] + step * direction[i];
            const double loss = op.loss();
            std::copy(start.begin(), start.end(), at);
            return loss;
        };
        CHECK(std::abs((moved(h) - moved(-h)) / (2 * h) - slope) < 1e-6 * (1 + std::sqrt(size)));
    };
    for (int repeat = 0; repeat < 3; ++repeat) {
        for (std::size_t k = 0; k < op.inputs(); ++k) {
            CAPTURE(k);
            check(op.x(k).data(), result.dL_dx[k]);
        }
        for (std::size_t p = 0; p < op.parameters().size(); ++p) {
            CAPTURE(op.parameters()[p].name);
            check(op.parameters()[p].master.as<double>(), result.dL_dparameters[p]);
        }
    }
}

inline void check_near(const OpResult& got, const OpResult& expected, double tolerance) {
    CHECK(naive::relative_error(got.y, expected.y) < tolerance);
    for (std::size_t k = 0; k < got.dL_dx.size(); ++k) CHECK(naive::relative_error(got.dL_dx[k], expected.dL_dx[k]) < tolerance);
    for (std::size_t p = 0; p < got.dL_dparameters.size(); ++p)
        CHECK(naive::relative_error(got.dL_dparameters[p], expected.dL_dparameters[p]) < tolerance);
}

// += is what was there and =; in place is the same bits; evaluation is the forward pass.
inline void check_ways(const OpCase& c, Backend& backend) {
    OpUnderTest op(c, backend, DType::f64);
    const OpResult plain = op.gradients(), added = op.gradients(true);
    for (std::size_t k = 0; k < op.inputs(); ++k) {
        const int input = static_cast<int>(k);
        if (!op.op().adds_gradient(input) || op.op().passes_gradient(input)) continue;
        std::vector<double> sum = plain.dL_dx[k];
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += op.earlier(k)[i];
        CHECK(naive::relative_error(added.dL_dx[k], sum) < 1e-13);
    }
    if (c.evaluates_as_it_trains) CHECK(op.evaluate() == plain.y);
    if (op.op().in_place() >= 0) {
        if (!op.op().backward_reads_inputs()) CHECK(op.forward(true) == plain.y);
        CHECK(op.evaluate(true) == op.evaluate());
    }
}

}  // namespace mlkd::test
