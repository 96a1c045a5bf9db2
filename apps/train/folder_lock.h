#pragma once
// One writer at a time in a folder: a lock (flock) on its file `mlkd.lock`, which says who holds it. The lock ends with the
// process, however that ends; the file goes with an orderly end.
#include <string>

namespace mlkd {

class FolderLock {
public:
    // `folder` exists and can be written. Throws Error with the other writer's process, host and time where there is one.
    // A file system without locks gets a warning on standard error.
    explicit FolderLock(const std::string& folder);
    ~FolderLock();
    FolderLock(const FolderLock&) = delete;
    FolderLock& operator=(const FolderLock&) = delete;

private:
    bool acquire();

    std::string path_;
    int descriptor_ = -1;
};

}  // namespace mlkd
