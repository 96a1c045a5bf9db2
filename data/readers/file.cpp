#include "data/readers/file.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "engine/error.h"

namespace mlkd {

struct ByteReader::Stream {
    explicit Stream(gzFile opened) : file(opened) {}
    ~Stream() { gzclose(file); }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;
    gzFile file;
};

ByteReader::ByteReader(const std::string& path) : path_(path) {
    std::error_code code;
    const auto status = std::filesystem::status(path, code);
    if (status.type() == std::filesystem::file_type::not_found)
        throw Error(fmt::format("{}: no such file; check the data folder's path, or fetch the data again", path));
    if (status.type() == std::filesystem::file_type::directory)
        throw Error(fmt::format("{}: is a folder, where a data file was expected", path));
    errno = 0;
    gzFile file = gzopen(path.c_str(), "rb");
    if (file == nullptr)
        throw Error(
            fmt::format("{}: cannot be opened ({}); check its permissions", path, errno == 0 ? "out of memory" : std::strerror(errno)));
    stream_ = std::make_unique<Stream>(file);
    gzbuffer(file, 1 << 17);
}

ByteReader::~ByteReader() = default;

std::size_t ByteReader::read(void* bytes, std::size_t count) {
    std::size_t done = 0;
    while (done < count) {
        const auto chunk = static_cast<unsigned>(std::min<std::size_t>(count - done, 1 << 26));
        const int got = gzread(stream_->file, static_cast<std::byte*>(bytes) + done, chunk);
        if (got > 0) done += static_cast<std::size_t>(got);
        if (got == static_cast<int>(chunk)) continue;
        int status = Z_OK;
        const char* reason = gzerror(stream_->file, &status);
        if (status == Z_ERRNO) throw Error(fmt::format("{}: cannot be read ({})", path_, std::strerror(errno)));
        if (got < 0 || status != Z_OK)
            throw Error(fmt::format("{}: damaged gzip file ({}); fetch it again", path_,
                                    status == Z_BUF_ERROR ? "it ends in the middle" : reason));
        break;
    }
    return done;
}

std::vector<std::string> read_lines(const std::string& path) {
    std::ifstream file(path);
    if (!file) throw Error(fmt::format("{}: cannot be opened; check its permissions", path));
    std::vector<std::string> lines;
    for (std::string line; std::getline(file, line);) {
        while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
        if (!line.empty()) lines.push_back(line);
    }
    if (file.bad()) throw Error(fmt::format("{}: cannot be read", path));
    return lines;
}

}  // namespace mlkd
