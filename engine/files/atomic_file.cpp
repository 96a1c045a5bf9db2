#include "engine/files/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <random>
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

constexpr const char* temporary_mark = ".tmp.";

// The temporary file: closed and removed unless it has been renamed.
class TemporaryFile {
public:
    explicit TemporaryFile(const std::string& path) : path_(path) {
        // Random: two hosts that share a file system, or two containers, may give two processes the same number.
        std::random_device random;
        do {
            name_ = path + temporary_mark + std::to_string(random());
            descriptor_ = ::open(name_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        } while (descriptor_ < 0 && errno == EEXIST);
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

// A rename would replace a device (/dev/null) by a plain file.
void require_replaceable(const std::string& path) {
    struct stat status {};
    if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode))
        throw Error(path + ": cannot write: " + (S_ISDIR(status.st_mode) ? "it is a folder" : "it is not a regular file"));
}

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
    require_replaceable(path);
    TemporaryFile file(path);
    FileSink sink(file.descriptor(), path);
    writer(sink);
    file.commit();
    flush_folder(path);
}

void write_file_atomically(const std::string& path, std::string_view text) {
    write_file_atomically(path, [text](FileSink& sink) { sink.write(text); });
}

std::string name_behind_temporary(const std::string& name) {
    const std::size_t mark = name.rfind(temporary_mark);
    if (mark == std::string::npos) return {};
    const std::string number = name.substr(mark + std::strlen(temporary_mark));
    return number.empty() || number.find_first_not_of("0123456789") != std::string::npos ? std::string() : name.substr(0, mark);
}

void require_writable(const std::string& path) {
    require_replaceable(path);
    const TemporaryFile probe(path);
}

}  // namespace mlkd
