#include "engine/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "engine/error.h"

namespace mlkd {
namespace {

[[noreturn]] void fail(const std::string& path, int reason) { throw Error(path + ": cannot write: " + std::strerror(reason)); }

std::string folder_of(const std::string& path) {
    const std::size_t slash = path.rfind('/');
    if (slash == std::string::npos) return ".";
    return slash == 0 ? "/" : path.substr(0, slash);
}

// The temporary file: closed and removed unless it has been renamed.
class TemporaryFile {
public:
    explicit TemporaryFile(const std::string& path) : path_(path), name_(path + ".tmp." + std::to_string(::getpid())) {
        // A file that a killed process of the same number left is overwritten; a link under that name is not followed.
        descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0666);
        if (descriptor_ < 0) fail(path_, errno);
    }
    ~TemporaryFile() {
        if (descriptor_ >= 0) ::close(descriptor_);
        if (!renamed_) ::unlink(name_.c_str());
    }
    TemporaryFile(const TemporaryFile&) = delete;
    TemporaryFile& operator=(const TemporaryFile&) = delete;

    int descriptor() const { return descriptor_; }

    void commit() {
        if (::fsync(descriptor_) != 0) fail(path_, errno);
        // Network file systems report a full disk as late as here.
        if (::close(std::exchange(descriptor_, -1)) != 0) fail(path_, errno);
        if (::rename(name_.c_str(), path_.c_str()) != 0) fail(path_, errno);
        renamed_ = true;
    }

private:
    std::string path_, name_;
    int descriptor_ = -1;
    bool renamed_ = false;
};

// Makes the rename itself survive a power cut. File systems that cannot flush a folder say EINVAL: nothing to do there.
void flush_folder(const std::string& path) {
    const int descriptor = ::open(folder_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0) return;  // a folder one may write but not list
    const int reason = ::fsync(descriptor) == 0 ? 0 : errno;
    ::close(descriptor);
    if (reason != 0 && reason != EINVAL) fail(path, reason);
}

}  // namespace

void FileSink::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
        if (written < 0) {
            if (errno == EINTR) continue;
            fail(path_, errno);
        }
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void write_file_atomically(const std::string& path, const std::function<void(FileSink&)>& writer) {
    // A rename would replace a device (/dev/null) by a plain file.
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        throw Error(path + ": cannot write: " + (S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file"));
    TemporaryFile file(path);
    FileSink sink(file.descriptor(), path);
    writer(sink);
    file.commit();
    flush_folder(path);
}

void write_file_atomically(const std::string& path, std::string_view text) {
    write_file_atomically(path, [text](FileSink& sink) { sink.write(text); });
}

}  // namespace mlkd
