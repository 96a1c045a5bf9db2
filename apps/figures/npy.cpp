#include "apps/figures/npy.h"

#include <fmt/format.h>

#include <bit>

#include "engine/error.h"
#include "engine/files/atomic_file.h"

namespace mlkd {

void write_npy(const std::string& path, std::span<const double> values, std::int64_t rows, std::int64_t columns) {
    static_assert(std::endian::native == std::endian::little, "the header says little-endian");
    MLKD_CHECK(static_cast<std::int64_t>(values.size()) == rows * columns, "npy: as many values as rows · columns");
    std::string description = fmt::format("{{'descr': '<f8', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
    // Magic, version and length take 10 bytes; spaces and a newline fill up to the data's offset, a multiple of 64.
    constexpr std::size_t description_bytes = npy_data_offset - 10;
    description.resize(description_bytes - 1, ' ');
    description += '\n';
    const char start[10] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(description_bytes), 0};
    write_file_atomically(path, [&](FileSink& sink) {
        sink.write(std::string_view(start, sizeof start));
        sink.write(description);
        sink.write(std::as_bytes(values));
    });
}

}  // namespace mlkd
