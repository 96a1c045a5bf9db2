#pragma once
// The safetensors format: an 8-byte little-endian header length, a JSON header {name: {dtype, shape, data_offsets}} with
// an optional "__metadata__" of strings, and the tensors' bytes, little-endian, row-major, without holes.
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "engine/tensor.h"

namespace mlkd {

// A tensor that owns its bytes in host memory; its rank is not limited.
struct HostTensor {
    DType dtype = DType::f32;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;

    std::int64_t elements() const;  // 1 for a scalar, shape {}
    std::string shape_text() const;  // "(64, 100)"

    // The elements; throws when T is not the tensor's type.
    template <class T> std::span<const T> as() const {
        require(dtype_of<T>());
        return {reinterpret_cast<const T*>(bytes.data()), bytes.size() / sizeof(T)};
    }
    template <class T> std::span<T> as() {
        require(dtype_of<T>());
        return {reinterpret_cast<T*>(bytes.data()), bytes.size() / sizeof(T)};
    }
    // Zeros of the given shape.
    static HostTensor zeros(DType dtype, std::vector<std::int64_t> shape);
    // A copy of `values`, as many as the shape says.
    template <class T> static HostTensor of(std::vector<std::int64_t> shape, std::span<const T> values) {
        HostTensor tensor = zeros(dtype_of<T>(), std::move(shape));
        tensor.assign(std::as_bytes(values));
        return tensor;
    }

private:
    void require(DType expected) const;
    void assign(std::span<const std::byte> source);
};

struct SafetensorsFile {
    std::map<std::string, HostTensor> tensors;
    std::map<std::string, std::string> metadata;

    // The tensor or the metadata string of that name; throws an Error that names it when there is none.
    const HostTensor& tensor(const std::string& name) const;
    const std::string& meta(const std::string& name) const;
};

// Element types F32, F64, BF16, U8, I32 and I64. Throws Error "PATH: <what is wrong>" for a file that is missing, empty,
// truncated or not of this format in any respect. Memory is taken only for what the file really holds.
SafetensorsFile read_safetensors(const std::string& path);

// Whole or not at all (atomic_file.h). The bytes are a function of the content alone, and those that the official library
// writes: wide element types first, so that every tensor is aligned, by name within a type.
void write_safetensors(const std::string& path, const SafetensorsFile& file);

}  // namespace mlkd
