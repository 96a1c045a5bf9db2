#pragma once
// Files that are whole or absent: written under another name in the same folder, flushed to the disk, then renamed.
// A kill at any moment, a full disk or a failing writer leaves what stood under the final name as it was.
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace mlkd {

// Where a writer puts its bytes. Unbuffered: hand over large pieces.
class FileSink {
public:
    FileSink(int descriptor, std::string path) : descriptor_(descriptor), path_(std::move(path)) {}
    void write(std::span<const std::byte> bytes);
    void write(std::string_view text) { write(std::as_bytes(std::span(text.data(), text.size()))); }

private:
    int descriptor_;
    std::string path_;  // the final name, for messages
};

// Throws Error "PATH: cannot write: <reason>" (no such folder, no permission, disk full, the name is a folder or a
// device). What the writer throws passes through. In either case the temporary file is removed.
void write_file_atomically(const std::string& path, const std::function<void(FileSink&)>& writer);
void write_file_atomically(const std::string& path, std::string_view text);

// The temporary file of `NAME` is called NAME.tmp. and a random number; a kill leaves it. Gives NAME back, and "" for any
// other name.
std::string name_behind_temporary(const std::string& name);

// Throws now what write_file_atomically() would throw at its beginning: for results that take long to compute. Leaves no file.
void require_writable(const std::string& path);

}  // namespace mlkd
