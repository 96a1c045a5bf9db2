#pragma once
// A method: what the student's logits cost, beside the teacher's or alone, and the gradient of that. Each is one file in this
// folder and a line in methods.cpp. The trainer, the meter, logs, metrics, checkpoints and the configuration take everything
// else from it.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/settings/settings.h"
#include "engine/tensor.h"

namespace mlkd {

// The inputs and outputs of one step; B samples, V views, C classes.
struct LossCall {
    Backend& backend;
    StepArena& arena;         // for the workspace; the caller has put a Scope around the call
    Tensor losses;            // (parts + 1) f32: the parts, weights included, and their total
    Tensor dL_dlogits;        // (V·B, C) f32: the gradient of the total in the student's logits; overwritten
    Tensor student, teacher;  // (V·B, C) f32, the rows of the weak view first; teacher is empty for a method without one
    Tensor target;            // (B) i32, each in [0, C)
    Tensor numbers;           // f32, as many as numbers(): what changes by epoch; in device memory
    double label_smoothing;   // of the cross entropy

    Stream stream() const { return backend.stream(); }
    std::int64_t samples() const { return target.dim(0); }
    std::int64_t classes() const { return student.dim(1); }
    Tensor floats(std::string_view name, const Shape& shape) const { return arena.allocate(name, DType::f32, shape); }
};

class Method : public Part {
public:
    virtual std::unique_ptr<Method> clone() const = 0;

    // --- the configuration: distiller.type is name(), the settings are those of a section
    virtual const char* section() const { return name(); }
    // The same method's name in mdistiller, where it has one there.
    virtual const char* other_name() const { return name(); }
    // Throws UsageError where settings contradict each other.
    virtual void check() const {}
    virtual bool has_teacher() const { return true; }
    // Whether the cross entropy and the teacher have a weight above 0.
    virtual bool has_cross_entropy() const = 0;
    virtual bool teaches() const = 0;

    // --- the step
    virtual int views() const { return 1; }  // of each sample: the weak one, or the weak and the strong one
    // The parts of the loss, in the order of LossCall::losses: what logs, metrics and checkpoints call them. At most 7.
    virtual std::vector<std::string> parts() const = 0;
    // The numbers that change by epoch, counted from 1. They lie in device memory: a recorded step reads them there.
    struct Number {
        const char* name;
        double value;
    };
    virtual std::vector<Number> numbers(int /*epoch*/) const { return {}; }
    // Once, before the first call: tables on the device. label_smoothing as in the calls.
    virtual void prepare(Backend&, double /*label_smoothing*/) {}
    // Logits that are not finite give losses that are not finite. Nothing is read back.
    virtual void forward_backward(const LossCall& call) = 0;
    // For networks in float64: the gradient once more, in float64 throughout, where the method can. student and dL_dlogits are f64.
    virtual void gradient_in_f64(const LossCall&) {}
    // FLOP of the matrix products in a call, for the bench.
    virtual double product_flop(std::int64_t /*samples*/, std::int64_t /*classes*/) const { return 0; }
};

// A method at work.
class Loss {
public:
    Loss(Backend& backend, const Method& method, double label_smoothing = 0);

    const Method& method() const { return *method_; }
    std::vector<std::string> parts() const;  // with "total" at the end
    // Writes the numbers of an epoch, counted from 1 (as which it starts), or one of them by name.
    void set_epoch(int epoch);
    void set_number(const std::string& name, double value);

    // See LossCall. Throws Error where shapes do not fit or C < 2. The workspace comes from the arena, inside a Scope.
    void forward_backward(StepArena& arena, const Tensor& losses, const Tensor& dL_dlogits, const Tensor& student, const Tensor& teacher,
                          const Tensor& target);
    void gradient_in_f64(StepArena& arena, const Tensor& dL_dlogits, const Tensor& student, const Tensor& target);

private:
    Backend& backend_;
    std::unique_ptr<Method> method_;
    double label_smoothing_;
    PersistentArena memory_;
    Tensor numbers_;
};

}  // namespace mlkd
