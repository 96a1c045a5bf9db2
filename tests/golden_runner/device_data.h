#pragma once
// Host vectors to device tensors and back.
#include <vector>

#include "engine/arena.h"
#include "engine/backend.h"

namespace mlkd::golden {

template <class T>
Tensor to_device(Backend& backend, PersistentArena& arena, const std::vector<T>& values, const Shape& shape) {
    const Tensor tensor = arena.allocate("input", dtype_of<T>(), shape);
    backend.copy_from_host(tensor.data, values.data(), tensor.bytes());
    return tensor;
}

inline std::vector<double> to_host(Backend& backend, const Tensor& tensor) {
    std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
    backend.copy_to_host(values.data(), tensor.data, tensor.bytes());
    return {values.begin(), values.end()};
}

}  // namespace mlkd::golden
