#include "engine/tensor.h"

#include "engine/error.h"

namespace mlkd {

std::size_t size_of(DType dtype) {
    switch (dtype) {
        case DType::u8: return 1;
        case DType::bf16: return 2;
        case DType::f32:
        case DType::i32: return 4;
        case DType::f64:
        case DType::i64: return 8;
    }
    throw Error("tensor: unknown element type");
}

const char* name_of(DType dtype) {
    switch (dtype) {
        case DType::f32: return "f32";
        case DType::bf16: return "bf16";
        case DType::f64: return "f64";
        case DType::u8: return "u8";
        case DType::i32: return "i32";
        case DType::i64: return "i64";
    }
    return "?";
}

const char* name_of(DeviceKind kind) { return kind == DeviceKind::cpu ? "cpu" : "cuda"; }

Shape::Shape(std::initializer_list<std::int64_t> extents) {
    MLKD_CHECK(extents.size() <= max_rank, "shape: more than four axes");
    for (std::int64_t extent : extents) {
        MLKD_CHECK(extent >= 0, "shape: negative extent");
        extents_[static_cast<std::size_t>(rank_++)] = extent;
    }
}

std::int64_t Shape::elements() const {
    std::int64_t product = 1;
    for (int axis = 0; axis < rank_; ++axis) product *= (*this)[axis];
    return product;
}

std::string Shape::text() const {
    std::string out = "(";
    for (int axis = 0; axis < rank_; ++axis) out += (axis ? ", " : "") + std::to_string((*this)[axis]);
    return out + ")";
}

Shape Shape::with(int axis, std::int64_t extent) const {
    MLKD_CHECK(axis >= 0 && axis < rank_, "shape: no such axis");
    Shape copy = *this;
    copy.extents_[static_cast<std::size_t>(axis)] = extent;
    return copy;
}

Tensor Tensor::slice(std::int64_t first, std::int64_t count) const {
    MLKD_CHECK(shape.rank() > 0 && first >= 0 && count >= 0 && first + count <= dim(0),
               "tensor: slice beyond the outermost axis of " + shape.text());
    const std::size_t row = dim(0) == 0 ? 0 : bytes() / static_cast<std::size_t>(dim(0));
    Tensor view = *this;
    view.data = static_cast<std::byte*>(data) + row * static_cast<std::size_t>(first);
    view.shape = shape.with(0, count);
    return view;
}

Tensor Tensor::reshaped(const Shape& other) const {
    MLKD_CHECK(other.elements() == elements(), "tensor: cannot view " + shape.text() + " as " + other.text());
    Tensor view = *this;
    view.shape = other;
    return view;
}

void Tensor::require(DType expected) const {
    if (dtype != expected)
        throw Error(std::string("tensor: asked for ") + name_of(expected) + " of a tensor of " + name_of(dtype));
}

}  // namespace mlkd
