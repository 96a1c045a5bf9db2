#include "engine/files/atomic_file.h"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "engine/error.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using test::read_bytes;
using test::TemporaryFolder;

namespace {

std::string failure(const std::string& path, std::string_view text) {
    try {
        write_file_atomically(path, text);
    } catch (const Error& error) {
        return error.what();
    }
    return "no failure";
}

// Files of this process may not grow beyond a limit: a write fails as on a full disk, without any rights.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &before_);
        const rlimit limit{bytes, before_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &before_);
        std::signal(SIGXFSZ, handler_);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;

private:
    rlimit before_{};
    void (*handler_)(int);
};

// A file system of 64 KiB on a folder; needs the right to mount.
class SmallDisk {
public:
    explicit SmallDisk(std::string folder) : folder_(std::move(folder)) {
        mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=64k") == 0;
    }
    ~SmallDisk() {
        if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;
    bool mounted() const { return mounted_; }

private:
    std::string folder_;
    bool mounted_;
};

}  // namespace

TEST_CASE("a file is written and replaced, and nothing else stays in the folder") {
    const TemporaryFolder folder;
    const std::string path = folder / "log.json";
    write_file_atomically(path, "first, and longer");
    CHECK(read_bytes(path) == "first, and longer");
    write_file_atomically(path, [](FileSink& sink) {
        sink.write("sec");
        sink.write("");
        sink.write("ond");
    });
    CHECK(read_bytes(path) == "second");
    write_file_atomically(path, "");
    CHECK(read_bytes(path).empty());
    CHECK(folder.entries() == 1);
}

TEST_CASE("a relative name without a folder is written in the working folder") {
    const TemporaryFolder folder;
    const std::filesystem::path before = std::filesystem::current_path();
    std::filesystem::current_path(folder.path());
    write_file_atomically("plain", "text");
    std::filesystem::current_path(before);
    CHECK(read_bytes(folder / "plain") == "text");
}

TEST_CASE("a name that cannot be written gives one line with the reason") {
    const TemporaryFolder folder;
    test::write_bytes(folder / "file", "x");
    std::filesystem::create_directory(folder / "sub");
    CHECK(failure(folder / "none/file", "x") == (folder / "none/file") + ": cannot write: No such file or directory");
    CHECK(failure(folder / "file/below", "x") == (folder / "file/below") + ": cannot write: Not a directory");
    CHECK(failure(folder / "sub", "x") == (folder / "sub") + ": cannot write: it is a folder");
    CHECK(failure("/dev/null", "x") == "/dev/null: cannot write: it is not a regular file");
    CHECK(failure("/proc/mlkd_file", "x").starts_with("/proc/mlkd_file: cannot write: "));
    CHECK(failure("", "x").starts_with(": cannot write: "));
    CHECK(failure(folder / std::string(300, 'n'), "x").ends_with(": cannot write: File name too long"));
    CHECK(folder.entries() == 2);
}

TEST_CASE("a folder without permission is named") {
    if (::geteuid() == 0) {
        MESSAGE("skipped: root may write everywhere");
        return;
    }
    const TemporaryFolder folder;
    const std::string locked = folder / "locked";
    std::filesystem::create_directory(locked);
    std::filesystem::permissions(locked, std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
    CHECK(failure(locked + "/file", "x") == locked + "/file: cannot write: Permission denied");
    std::filesystem::permissions(locked, std::filesystem::perms::owner_all);
}

TEST_CASE("whether a file can be written is known before, and nothing changes by asking") {
    const TemporaryFolder folder;
    require_writable(folder / "new");
    CHECK(folder.entries() == 0);
    test::write_bytes(folder / "file", "old");
    require_writable(folder / "file");
    CHECK(read_bytes(folder / "file") == "old");
    CHECK(folder.entries() == 1);
    for (const std::string& bad : {folder.path(), folder / "none/file", folder / "file/below", std::string("/dev/full"), std::string("/proc/file"),
                                   folder / std::string(256, 'n')})
        CHECK_THROWS_WITH_AS(require_writable(bad), doctest::Contains((bad + ": cannot write: ").c_str()), Error);
}

TEST_CASE("a writer that throws leaves the old file and no temporary one") {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_file_atomically(path, "old");
    CHECK_THROWS_WITH(write_file_atomically(path,
                                            [](FileSink& sink) {
                                                sink.write("new, bu");
                                                throw Error("changed my mind");
                                            }),
                      "changed my mind");
    CHECK(read_bytes(path) == "old");
    CHECK(folder.entries() == 1);
}

TEST_CASE("a write that fails half-way leaves the old file and no temporary one") {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_file_atomically(path, "old");
    {
        const FileSizeLimit limit(4096);
        CHECK(failure(path, std::string(5000, 'x')) == path + ": cannot write: File too large");
        CHECK(failure(folder / "other", std::string(5000, 'x')) == (folder / "other") + ": cannot write: File too large");
    }
    CHECK(read_bytes(path) == "old");
    CHECK(folder.entries() == 1);
}

TEST_CASE("a full disk leaves the old file and no temporary one") {
    const TemporaryFolder folder;
    const SmallDisk disk(folder.path());
    if (!disk.mounted()) {
        MESSAGE("skipped: no right to mount a small file system (" << std::string(std::strerror(errno)) << ")");
        return;
    }
    const std::string path = folder / "file";
    write_file_atomically(path, std::string(20'000, 'o'));
    // Fits an empty disk, yet not beside the old file.
    CHECK(failure(path, std::string(60'000, 'n')) == path + ": cannot write: No space left on device");
    CHECK(read_bytes(path) == std::string(20'000, 'o'));
    CHECK(folder.entries() == 1);
    write_file_atomically(path, std::string(30'000, 'n'));
    CHECK(read_bytes(path) == std::string(30'000, 'n'));
}

TEST_CASE("a kill in the middle of a write leaves the old file") {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_file_atomically(path, "old");
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        write_file_atomically(path, [](FileSink& sink) {
            sink.write("new, bu");
            std::raise(SIGKILL);
        });
        ::_exit(0);
    }
    int status = 0;
    REQUIRE(::waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(read_bytes(path) == "old");
    write_file_atomically(path, "new");
    CHECK(read_bytes(path) == "new");
}

TEST_CASE("several writers of one name have temporary files of their own") {
    const TemporaryFolder folder;
    const std::string path = folder / "file";
    write_file_atomically(path, [&](FileSink& outer) {
        outer.write("outer ");
        write_file_atomically(path, [&](FileSink& inner) {
            inner.write("inner");
            CHECK(folder.entries() == 2);
        });
        CHECK(read_bytes(path) == "inner");
        outer.write("last");
    });
    CHECK(read_bytes(path) == "outer last");
    CHECK(folder.entries() == 1);
}

TEST_CASE("the name behind a temporary file's name") {
    const TemporaryFolder folder;
    const std::string path = folder / "a.tmp.b.json";
    write_file_atomically(path, [&](FileSink&) {
        for (const auto& entry : std::filesystem::directory_iterator(folder.path()))
            CHECK(name_behind_temporary(entry.path().filename().string()) == "a.tmp.b.json");
    });
    CHECK(name_behind_temporary("last.safetensors.tmp.4711") == "last.safetensors");
    for (const char* name : {"last.safetensors", "x.tmp.", "x.tmp.12a", "x.tmp", ""}) CHECK(name_behind_temporary(name).empty());
}
