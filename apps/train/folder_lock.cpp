#include "apps/train/folder_lock.h"

#include <fcntl.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "apps/output.h"
#include "engine/error.h"

namespace mlkd {
namespace {

// "process 4711 on host since 2026-01-31 12:00:00 UTC"
std::string this_process() {
    std::array<char, 256> host{};
    if (gethostname(host.data(), host.size() - 1) != 0) host = {"unknown"};
    return fmt::format("process {} on {} since {:%Y-%m-%d %H:%M:%S} UTC", getpid(), host.data(), fmt::gmtime(std::time(nullptr)));
}

// Printable ASCII of the file's first line: a stranger may have written it.
std::string holder(int descriptor) {
    std::array<char, 400> text{};
    const ssize_t size = pread(descriptor, text.data(), text.size(), 0);
    std::string line;
    for (ssize_t i = 0; i < size && text[static_cast<std::size_t>(i)] >= ' ' && text[static_cast<std::size_t>(i)] <= '~'; ++i)
        line += text[static_cast<std::size_t>(i)];
    return line.empty() ? "another process" : line;
}

// Whether the name still leads to the open file: its last holder may have removed it in between.
bool is_current(int descriptor, const std::string& path) {
    struct stat opened {
    }, named{};
    return fstat(descriptor, &opened) == 0 && lstat(path.c_str(), &named) == 0 && opened.st_dev == named.st_dev &&
           opened.st_ino == named.st_ino;
}

}  // namespace

FolderLock::FolderLock(const std::string& folder) : path_(folder + "/mlkd.lock") {
    while (!acquire()) {
    }
}

bool FolderLock::acquire() {
    descriptor_ = open(path_.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (descriptor_ < 0) throw Error(fmt::format("{}: cannot write: {}", path_, std::strerror(errno)));
    if (flock(descriptor_, LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        const std::string other = holder(descriptor_);
        if (reason != EWOULDBLOCK) {
            print_error(fmt::format("{}: cannot be locked ({}): nothing keeps a second run out of this folder", path_, std::strerror(reason)));
            return true;
        }
        close(descriptor_);
        throw Error(fmt::format("{}: {} writes into this folder; wait for its end, or choose another folder", path_, other));
    }
    if (!is_current(descriptor_, path_)) {
        close(descriptor_);
        return false;
    }
    const std::string text = this_process() + "\n";
    if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
        const int reason = errno;
        unlink(path_.c_str());
        close(descriptor_);  // also gives the lock back
        throw Error(fmt::format("{}: cannot write: {}", path_, std::strerror(reason)));
    }
    return true;
}

FolderLock::~FolderLock() {
    unlink(path_.c_str());
    close(descriptor_);
}

}  // namespace mlkd
