#include "engine/plan.h"

#include <algorithm>

#include "engine/error.h"
#include "engine/kernels/elementwise.h"

namespace mlkd {
namespace {

Shape batched(const Shape& per_image, std::int64_t batch) {
    switch (per_image.rank()) {
        case 1: return {batch, per_image[0]};
        case 3: return {batch, per_image[0], per_image[1], per_image[2]};
        default: throw Error("plan: values have one or three extents per image, not " + per_image.text());
    }
}

}  // namespace

// Time: operation i of n runs forward at time i, the loss at n, operation i backward at 2n - i, and at 2n + 1 all branches are done.
class Plan::Builder {
public:
    Builder(Plan& plan, const Graph& graph, std::int64_t batch, DType stored)
        : plan_(plan),
          nodes_(graph.nodes()),
          count_(static_cast<int>(nodes_.size())),
          training_(plan.purpose_ == PlanFor::training),
          two_branches_(training_ && &plan.backend_.side() != &plan.backend_) {
        const DeviceKind device = plan.backend_.stream().device;
        values_.push_back({.tensor = {nullptr, stored, device, batched(graph.shape(graph.images()), batch)}});
        for (int i = 0; i < count_; ++i)
            values_.push_back({.tensor = {nullptr, nodes_[at(i)].op->type(stored), device, batched(graph.shape({i + 1}), batch)}, .producer = i});
        plan.steps_.resize(at(count_));
    }

    void build() {
        find_last_readers();
        for (int i = 0; i < count_; ++i) forward(i);
        if (training_) {
            find_gradients();
            for (int i = count_ - 1; i >= 0; --i) backward(i);
        }
        for (const Storage& storage : storages_) numbers_.push_back(plan_.memory_.add(storage.bytes, storage.first, storage.last));
        for (const auto& [tensor, storage] : uses_) plan_.bindings_.push_back({tensor, numbers_[at(storage)]});
    }

private:
    struct Storage {
        std::size_t bytes;
        int first, last;
    };
    struct ValueState {
        Tensor tensor;      // shape and type
        int producer = -1;  // operation; -1: the images
        int last = 0;       // time of the last reader
        int storage = -1, gradient = -1;
        bool wants_gradient = false;
        std::vector<int> readers = {};
    };

    static std::size_t at(int i) { return static_cast<std::size_t>(i); }
    int backward_time(int i) const { return 2 * count_ - i; }
    int end() const { return 2 * count_ + 1; }
    ValueState& input(int i, int k) { return values_[at(nodes_[at(i)].inputs[at(k)].index)]; }
    int input_count(int i) const { return static_cast<int>(nodes_[at(i)].inputs.size()); }

    int store(const Tensor& tensor, int first, int last) {
        storages_.push_back({tensor.bytes(), first, last});
        return static_cast<int>(storages_.size()) - 1;
    }
    // `tensor` will lie in that storage.
    void use(Tensor& tensor, int storage) { uses_.push_back({&tensor, storage}); }
    void use(std::vector<Tensor>& tensors, const std::vector<TensorSpec>& specs, int first, int last) {
        const std::size_t start = tensors.size();
        for (const TensorSpec& spec : specs) tensors.push_back({nullptr, spec.dtype, values_[0].tensor.device, spec.shape});
        for (std::size_t j = start; j < tensors.size(); ++j) use(tensors[j], store(tensors[j], first, last));
    }

    void find_last_readers() {
        for (int i = 0; i < count_; ++i) {
            const Op& op = *nodes_[at(i)].op;
            ValueState& y = values_[at(i + 1)];
            y.last = i;
            for (int k = 0; k < input_count(i); ++k) {
                ValueState& x = input(i, k);
                const bool again = training_ && op.backward_reads_inputs(), aside = two_branches_ && op.parameters_apart();
                x.last = std::max(x.last, again ? (aside ? end() : backward_time(i)) : i);
                x.readers.push_back(i);
            }
            if (training_ && op.backward_reads_result()) y.last = backward_time(i);
        }
        values_[at(count_)].last = end();  // the caller may read the result until the next pass
    }

    void forward(int i) {
        const Op& op = *nodes_[at(i)].op;
        Step& step = plan_.steps_[at(i)];
        ValueState& y = values_[at(i + 1)];
        step.op = &op;
        for (int k = 0; k < input_count(i); ++k) step.forward.x.push_back(input(i, k).tensor);
        step.forward.y = y.tensor;
        const OpMemory memory = op.memory(step.forward, plan_.views_);
        step.backward = step.forward;

        const int k = op.in_place();
        if (k >= 0 && input(i, k).producer >= 0 && input(i, k).last == i && input(i, k).tensor.bytes() == y.tensor.bytes() &&
            std::ranges::count(input(i, k).readers, i) == 1) {
            y.storage = input(i, k).storage;
            storages_[at(y.storage)].last = std::max(storages_[at(y.storage)].last, y.last);
        } else {
            y.storage = store(y.tensor, i, y.last);
        }
        for (int j = 0; j < input_count(i); ++j) {
            if (input(i, j).producer < 0) {
                plan_.images_.push_back(&step.forward.x[at(j)]);
                if (training_ && op.backward_reads_inputs()) plan_.images_.push_back(&step.backward.x[at(j)]);
                continue;
            }
            use(step.forward.x[at(j)], input(i, j).storage);
            if (training_ && op.backward_reads_inputs()) use(step.backward.x[at(j)], input(i, j).storage);
        }
        use(step.forward.y, y.storage);
        if (training_ && op.backward_reads_result()) use(step.backward.y, y.storage);
        if (i == count_ - 1) {
            plan_.result_ = y.tensor;
            use(plan_.result_, y.storage);
        }

        const std::size_t first_kept = uses_.size();
        use(step.forward.kept, memory.kept, i, training_ ? backward_time(i) : i);
        step.backward.kept = step.forward.kept;
        if (training_)
            for (std::size_t j = 0; j < step.backward.kept.size(); ++j) use(step.backward.kept[j], uses_[first_kept + j].storage);
        use(step.forward.scratch, memory.forward_scratch, i, i);
        if (training_) use(step.backward.scratch, memory.backward_scratch, backward_time(i), backward_time(i));
    }

    // A gradient is wanted where parameters stand before.
    void find_gradients() {
        for (int i = 0; i < count_; ++i) {
            bool wanted = nodes_[at(i)].op->parameter_elements() > 0;
            for (int k = 0; k < input_count(i); ++k) wanted = wanted || input(i, k).wants_gradient;
            values_[at(i + 1)].wants_gradient = wanted;
        }
        ValueState& result = values_[at(count_)];
        MLKD_CHECK(result.wants_gradient, "plan: nothing in this network can be trained");
        plan_.result_gradient_ = result.tensor;
        first_touch(result, count_);
        use(plan_.result_gradient_, result.gradient);
    }

    void first_touch(ValueState& value, int now) { value.gradient = store(value.tensor, now, backward_time(value.producer)); }

    void backward(int i) {
        const Op& op = *nodes_[at(i)].op;
        Step& step = plan_.steps_[at(i)];
        ValueState& y = values_[at(i + 1)];
        if (!y.wants_gradient || y.gradient < 0) return;
        const int now = backward_time(i);
        step.dL_dy = y.tensor;
        use(step.dL_dy, y.gradient);
        // Beside what follows, unless that may write to the same memory.
        step.aside = two_branches_ && op.parameters_apart() &&
                     std::ranges::count(values_, y.gradient, &ValueState::gradient) == 1;
        if (step.aside) storages_[at(y.gradient)].last = end();

        step.gradients.resize(at(input_count(i)));
        step.afterwards.reserve(at(input_count(i)));  // their tensors' addresses are taken
        for (int k = 0; k < input_count(i); ++k) {
            ValueState& x = input(i, k);
            if (!x.wants_gradient || op.passes_gradient(k)) continue;
            InputGradient& gradient = step.gradients[at(k)];
            gradient.dL_dx = x.tensor;
            if (x.gradient < 0) {
                first_touch(x, now);
                use(gradient.dL_dx, x.gradient);
            } else if (op.adds_gradient(k)) {
                gradient.add = true;
                use(gradient.dL_dx, x.gradient);
            } else {
                const int addend = store(x.tensor, now, now);
                use(gradient.dL_dx, addend);
                afterwards(step, x, addend, true);
            }
        }
        int taken_by = -1;  // the input whose gradient has got the memory of dL_dy
        for (int k = 0; k < input_count(i); ++k) {
            ValueState& x = input(i, k);
            if (!x.wants_gradient || !op.passes_gradient(k)) continue;
            if (x.gradient >= 0) {
                afterwards(step, x, y.gradient, true);
            } else if (taken_by < 0 || may_share(i, k, taken_by) || may_share(i, taken_by, k)) {
                x.gradient = y.gradient;
                Storage& storage = storages_[at(y.gradient)];
                storage.last = std::max(storage.last, backward_time(x.producer));
                taken_by = k;
            } else {
                first_touch(x, now);
                afterwards(step, x, y.gradient, false);
            }
        }
    }

    void afterwards(Step& step, const ValueState& x, int from, bool add) {
        Step::Afterwards& after = step.afterwards.emplace_back(Step::Afterwards{x.tensor, x.tensor, add});
        use(after.to, x.gradient);
        use(after.from, from);
    }

    // Whether the gradients of inputs a and b of operation i can be one memory until b's is added to: a's is complete, and its one
    // reader reads it, and leaves it as it is, before anything else happens to b's.
    bool may_share(int i, int a, int b) {
        const ValueState &of_a = input(i, a), &of_b = input(i, b);
        const int reader = of_a.producer;  // it reads dL/da
        if (of_a.readers.front() != i || of_b.producer >= reader) return false;
        const Op& op = *nodes_[at(reader)].op;
        if (op.changes_gradient()) return false;
        for (int k = 0; k < input_count(reader); ++k)
            if (op.passes_gradient(k)) return false;
        return std::ranges::none_of(of_b.readers, [&](int other) { return other >= reader && other < i; });
    }

    Plan& plan_;
    const std::vector<Graph::Node>& nodes_;
    int count_;
    bool training_, two_branches_;
    std::vector<ValueState> values_;
    std::vector<Storage> storages_;
    std::vector<int> numbers_;  // of storages in the memory plan
    struct Use {
        Tensor* tensor;
        int storage;
    };
    std::vector<Use> uses_;
};

Plan::Plan(Backend& backend, const Graph& graph, PlanFor purpose, std::int64_t batch, int views, DType stored)
    : backend_(backend), purpose_(purpose), views_(views) {
    MLKD_CHECK(batch > 0 && batch % views == 0, "plan: a batch is one part for each view");
    MLKD_CHECK(!graph.nodes().empty(), "plan: the graph is empty");
    Builder(*this, graph, batch, stored).build();
    bytes_ = memory_.place();
}

void Plan::bind(void* memory) {
    for (const Binding& binding : bindings_) binding.tensor->data = static_cast<std::byte*>(memory) + memory_.offset(binding.part);
}

void Plan::forward(const Tensor& images, Backend& branch) {
    for (Tensor* place : images_) {
        MLKD_CHECK(images.shape == place->shape && images.dtype == place->dtype,
                   "plan: images " + images.shape.text() + ", expected " + place->shape.text());
        place->data = images.data;
    }
    if (watch_) watch_(nullptr, false);
    for (const Step& step : steps_) {
        run_forward(step, branch);
        if (watch_) watch_(&step, false);
    }
}

void Plan::backward() {
    MLKD_CHECK(purpose_ == PlanFor::training, "plan: a plan for evaluation has no backward pass");
    if (watch_) watch_(nullptr, true);
    for (auto step = steps_.rbegin(); step != steps_.rend(); ++step) {
        run_backward(*step);
        if (watch_) watch_(&*step, true);
    }
    if (std::ranges::any_of(steps_, &Step::aside)) backend_.join();
}

void Plan::run_forward(const Step& step, Backend& branch) {
    OpRun run{branch, views_};
    if (purpose_ == PlanFor::training)
        step.op->forward(run, step.forward);
    else
        step.op->evaluate(run, step.forward);
}

void Plan::run_backward(const Step& step) {
    if (step.dL_dy.empty()) return;
    OpRun run{backend_, views_};
    if (step.aside) {
        backend_.fork();
        OpRun beside{backend_.side(), views_};
        step.op->backward_parameters(beside, step.backward, step.dL_dy);
    } else {
        step.op->backward_parameters(run, step.backward, step.dL_dy);
    }
    step.op->backward_inputs(run, step.backward, step.dL_dy, step.gradients);
    for (const Step::Afterwards& after : step.afterwards) {
        if (after.add)
            add_to(backend_.stream(), after.to, after.from);
        else
            copy(backend_.stream(), after.to, after.from);
    }
}

}  // namespace mlkd
