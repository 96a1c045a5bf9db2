#include "engine/files/foreign_format.h"

#include <algorithm>

namespace mlkd {
namespace {

using namespace std::string_view_literals;

// mdistiller and its like wrap the weights in "model", others in "state_dict" or "net"; DataParallel puts "module." before names.
constexpr const char* convert =
    "; convert it with PyTorch and safetensors: python3 -c 'import sys, torch, safetensors.torch as s; c = torch.load(sys.argv[1], "
    "map_location=\"cpu\"); c = next((c[k] for k in (\"model\", \"state_dict\", \"net\") if k in c), c); "
    "s.save_file({k.removeprefix(\"module.\"): v.contiguous() for k, v in c.items()}, sys.argv[2])' IN OUT.safetensors";
constexpr const char* unpack = "; unpack it and name the checkpoint in it";
constexpr const char* export_it = "; export its weights as safetensors, under PyTorch's names";

struct Signature {
    std::size_t offset;
    std::string_view bytes;
    const char* what;
    const char* advice;
};
// The first that fits counts. PyTorch's old format is a pickle that starts with the number 0x1950a86a20f9469cfc6c.
constexpr Signature signatures[] = {
    {0, "\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv, "a PyTorch checkpoint (pickle)", convert},
    {0, "\x89HDF\r\n\x1a\n"sv, "an HDF5 file (Keras, MATLAB)", export_it},
    {0, "\x93NUMPY"sv, "a NumPy array", export_it},
    {0, "\x89PNG\r\n\x1a\n"sv, "a PNG picture", "; name a checkpoint"},
    {0, "\xff\xd8\xff"sv, "a JPEG picture", "; name a checkpoint"},
    {0, "\x1f\x8b"sv, "a gzip archive", unpack},
    {0, "BZh"sv, "a bzip2 archive", unpack},
    {0,
     "\xfd"
     "7zXZ\0"sv,
     "an xz archive", unpack},
    {0, "\x28\xb5\x2f\xfd"sv, "a Zstandard archive", unpack},
    {257, "ustar"sv, "a tar archive", unpack},
    {0, "GGUF"sv, "a GGUF file", export_it},
    {0,
     "\x7f"
     "ELF"sv,
     "a program", "; name a checkpoint"},
    {0, "version https://git-lfs"sv, "a Git LFS pointer, not the file itself", "; fetch it with git lfs pull"},
    {0, "<!DOCTYPE"sv, "a web page", "; fetch the file again"},
    {0, "<html"sv, "a web page", "; fetch the file again"},
    {0, "{"sv, "text (JSON)", "; a configuration is named by --config, a checkpoint ends in .safetensors"},
};

// A zip says in its first entry what it is: PyTorch's begins with NAME/data.pkl, NumPy's holds arrays NAME.npy.
std::string zip(std::string_view start) {
    constexpr std::size_t name_length_at = 26, name_at = 30;
    if (start.size() < name_at) return std::string("is a zip archive") + unpack;
    const std::size_t length = static_cast<unsigned char>(start[name_length_at]) | static_cast<unsigned char>(start[name_length_at + 1])
                                                                                       << 8;
    const std::string_view name = start.substr(name_at, length);
    if (name.ends_with("/data.pkl") || name.ends_with("/version") || name.ends_with("/byteorder"))
        return std::string("is a PyTorch checkpoint (zip)") + convert;
    if (name.ends_with(".npy")) return std::string("is a NumPy archive (npz)") + export_it;
    return std::string("is a zip archive") + unpack;
}

// ONNX is a protobuf without a signature: field 1, the version of the format, is followed by field 2, the producer's name, or by 7,
// the graph.
bool is_onnx(std::string_view start) {
    return start.size() > 3 && start[0] == 0x08 && start[1] >= 1 && start[1] <= 32 && (start[2] == 0x12 || start[2] == 0x3a);
}

}  // namespace

std::string foreign_format(std::string_view start) {
    if (start.starts_with("PK\x03\x04")) return zip(start);
    for (const Signature& signature : signatures)
        if (start.size() > signature.offset && start.substr(signature.offset).starts_with(signature.bytes))
            return std::string("is ") + signature.what + signature.advice;
    if (start.size() > 2 && start[0] == '\x80' && start[1] >= 2 && start[1] <= 5) return std::string("is a Python pickle") + export_it;
    return is_onnx(start) ? std::string("is an ONNX network") + export_it : std::string();
}

}  // namespace mlkd
