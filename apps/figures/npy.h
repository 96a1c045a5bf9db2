#pragma once
// Matrices as NumPy's .npy files (format version 1.0, '<f8', row-major).
#include <cstdint>
#include <span>
#include <string>

namespace mlkd {

// Where the numbers begin in a file that write_npy wrote.
constexpr int npy_data_offset = 128;

// values (rows, columns). Whole or not at all; throws Error naming the path.
void write_npy(const std::string& path, std::span<const double> values, std::int64_t rows, std::int64_t columns);

}  // namespace mlkd
