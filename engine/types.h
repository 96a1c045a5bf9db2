#pragma once
// From a tensor's element type, known when the program runs, to a C++ type, known when it is compiled: the one place that
// lists the types in which networks compute.
#include <string>

#include "engine/bfloat16.h"
#include "engine/error.h"
#include "engine/tensor.h"

namespace mlkd {

// Whether networks compute in this type: float32, or float64 as the reference precision.
constexpr bool is_real(DType dtype) { return dtype == DType::f32 || dtype == DType::f64; }

// Whether networks store activations in this type: those, or bfloat16.
constexpr bool is_stored(DType dtype) { return dtype == DType::bf16 || is_real(dtype); }

// The type to compute with what is stored in `stored`: see computed_t.
constexpr DType computed_type(DType stored) { return stored == DType::bf16 ? DType::f32 : stored; }

// Calls work(zero), where zero is the 0 of the C++ type of `dtype`:
//
//     with_real_type(x.dtype, [&](auto zero) {
//         using T = decltype(zero);
//         for_each_index(stream, x.elements(), Scale<T>{x.as<T>()});
//     });
template <class Work> void with_real_type(DType dtype, const Work& work) {
    if (dtype == DType::f32) return work(float{});
    if (dtype == DType::f64) return work(double{});
    throw Error(std::string("networks compute in f32 or f64, not in ") + name_of(dtype));
}

// The same for the types in which activations are stored: bfloat16 too.
template <class Work> void with_stored_type(DType dtype, const Work& work) {
    if (dtype == DType::bf16) return work(bfloat16{});
    with_real_type(dtype, work);
}

}  // namespace mlkd
