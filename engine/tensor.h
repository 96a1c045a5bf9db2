#pragma once
// A tensor is a view: pointer, type, shape, device. It owns nothing; arenas own memory.
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <type_traits>

namespace mlkd {

enum class DType : std::uint8_t { f32, bf16, f64, u8, i32, i64 };
enum class DeviceKind : std::uint8_t { cpu, cuda };

std::size_t size_of(DType dtype);     // bytes
const char* name_of(DType dtype);     // "f32"
const char* name_of(DeviceKind kind); // "cpu"

// Up to four extents, outermost first. Activations are (N, H, W, C), filters (K, R, S, C): K outputs, C inputs.
class Shape {
public:
    static constexpr int max_rank = 4;

    Shape() = default;
    Shape(std::initializer_list<std::int64_t> extents);

    int rank() const { return rank_; }
    std::int64_t operator[](int axis) const { return extents_[static_cast<std::size_t>(axis)]; }
    std::int64_t elements() const;  // 1 for rank 0
    std::string text() const;       // "(64, 32, 32, 3)"
    bool operator==(const Shape& other) const = default;

    Shape with(int axis, std::int64_t extent) const;  // a copy with one extent changed

private:
    std::array<std::int64_t, max_rank> extents_{};
    int rank_ = 0;
};

template <class T> constexpr DType dtype_of();
template <> constexpr DType dtype_of<float>() { return DType::f32; }
template <> constexpr DType dtype_of<double>() { return DType::f64; }
template <> constexpr DType dtype_of<std::uint8_t>() { return DType::u8; }
template <> constexpr DType dtype_of<std::int32_t>() { return DType::i32; }
template <> constexpr DType dtype_of<std::int64_t>() { return DType::i64; }

struct Tensor {
    void* data = nullptr;
    DType dtype = DType::f32;
    DeviceKind device = DeviceKind::cpu;
    Shape shape;

    bool empty() const { return data == nullptr; }
    std::int64_t dim(int axis) const { return shape[axis]; }
    std::int64_t elements() const { return shape.elements(); }
    std::size_t bytes() const { return static_cast<std::size_t>(elements()) * size_of(dtype); }

    // The typed pointer; throws when T is not the tensor's type.
    template <class T> T* as() const {
        require(dtype_of<T>());
        return static_cast<T*>(data);
    }
    // `count` entries of the outermost axis from `first`: a view on the same memory.
    Tensor slice(std::int64_t first, std::int64_t count) const;
    // The same memory under another shape with as many elements.
    Tensor reshaped(const Shape& other) const;
    // Throws when the tensor is of another type.
    void require(DType expected) const;
};

// A view of host memory that the caller keeps alive.
template <class T> Tensor view_of(T* data, const Shape& shape) {
    return Tensor{const_cast<std::remove_const_t<T>*>(data), dtype_of<std::remove_const_t<T>>(), DeviceKind::cpu, shape};
}

}  // namespace mlkd
