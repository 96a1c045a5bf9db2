#pragma once
// Reading of data files, plain or gzip, with errors that name the file.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace mlkd {

// The bytes of a file in order. A file that starts with gzip's magic bytes is decompressed on the way.
class ByteReader {
public:
    explicit ByteReader(const std::string& path);
    ~ByteReader();
    ByteReader(const ByteReader&) = delete;
    ByteReader& operator=(const ByteReader&) = delete;

    // Reads up to `count` bytes and returns how many there were: fewer only at the end of the file.
    std::size_t read(void* bytes, std::size_t count);
    const std::string& path() const { return path_; }

private:
    std::string path_;
    struct Stream;
    std::unique_ptr<Stream> stream_;
};

// The lines of a text file that are not blank, without their line ends.
std::vector<std::string> read_lines(const std::string& path);

}  // namespace mlkd
