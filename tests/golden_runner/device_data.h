#pragma once
// Host vectors to device tensors and back.
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"
#include "engine/types.h"

namespace mlkd::golden {

template <class T>
Tensor to_device(Backend& backend, PersistentArena& arena, const std::vector<T>& values, const Shape& shape) {
    const Tensor tensor = arena.allocate("input", dtype_of<T>(), shape);
    backend.copy_from_host(tensor.data, values.data(), tensor.bytes());
    return tensor;
}

// The same in a network's precision.
inline Tensor to_device_as(DType precision, Backend& backend, PersistentArena& arena, const std::vector<float>& values,
                           const Shape& shape) {
    if (precision == DType::f32) return to_device(backend, arena, values, shape);
    return to_device(backend, arena, std::vector<double>(values.begin(), values.end()), shape);
}

inline std::vector<double> to_host(Backend& backend, const Tensor& tensor) {
    std::vector<double> widened;
    with_real_type(tensor.dtype, [&](auto zero) {
        std::vector<decltype(zero)> values(static_cast<std::size_t>(tensor.elements()));
        backend.copy_to_host(values.data(), tensor.data, tensor.bytes());
        widened.assign(values.begin(), values.end());
    });
    return widened;
}

}  // namespace mlkd::golden
