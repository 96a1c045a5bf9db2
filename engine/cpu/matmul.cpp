#include "engine/cpu/matmul.h"

#include "engine/cpu/onednn_descriptors.h"

namespace mlkd::cpu {

void Matmuls::run(const MatmulCall& call, float* c, const float* a, const float* b) {
    with_onednn_errors("matrix product " + call.text(), [&] {
        auto entry = plans_.find(call);
        if (entry == plans_.end()) entry = plans_.emplace(call, make_plan(call)).first;
        Plan& plan = entry->second;
        plan.a.set_data_handle(const_cast<float*>(a));
        plan.b.set_data_handle(const_cast<float*>(b));
        plan.c.set_data_handle(c);
        plan.scratchpad.set_data_handle(onednn_.workspace.reserve(plan.scratchpad.get_desc().get_size()));
        plan.primitive.execute(
            onednn_.stream,
            {{DNNL_ARG_SRC, plan.a}, {DNNL_ARG_WEIGHTS, plan.b}, {DNNL_ARG_DST, plan.c}, {DNNL_ARG_SCRATCHPAD, plan.scratchpad}});
        onednn_.stream.wait();
    });
}

Matmuls::Plan Matmuls::make_plan(const MatmulCall& p) const {
    using dnnl::memory;
    // A transposed operand is the same memory with its strides exchanged.
    const auto desc = [&](std::int64_t rows, std::int64_t columns, bool transposed) {
        const std::int64_t row_stride = transposed ? 1 : columns, column_stride = transposed ? rows : 1;
        return memory::desc({p.batch, rows, columns}, memory::data_type::f32, {rows * columns, row_stride, column_stride});
    };
    const memory::desc a = desc(p.m, p.k, p.transpose_a), b = desc(p.k, p.n, p.transpose_b), c = desc(p.m, p.n, false);
    const auto primitive = matmul(onednn_.engine, a, b, c, p.alpha, p.beta);
    const auto handle = [&](const memory::desc& of) { return memory(of, onednn_.engine, nullptr); };
    return {dnnl::matmul(primitive), handle(a), handle(b), handle(c), handle(primitive.scratchpad_desc())};
}

}  // namespace mlkd::cpu
