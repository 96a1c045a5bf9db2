// IDX, the format of MNIST and Fashion-MNIST: a big-endian header (0, 0, element type, rank, then the extents) and the
// elements; the files may be gzip.
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "data/file.h"
#include "data/image.h"
#include "data/load.h"
#include "engine/error.h"

namespace mlkd {

namespace {

namespace fs = std::filesystem;

constexpr int idx_side = 28;
constexpr int idx_classes = 10;
constexpr int border = (image_side - idx_side) / 2;
constexpr const char* advice = "fetch it again";

// The plain file if it is there, else the gzip one.
std::string existing(const std::string& folder, const std::string& name) {
    const fs::path plain = fs::path(folder) / name;
    const fs::path gzip = fs::path(folder) / (name + ".gz");
    std::error_code ignored;
    return !fs::exists(plain, ignored) && fs::exists(gzip, ignored) ? gzip.string() : plain.string();
}

// Reads the header of unsigned bytes of the given rank and returns the extents.
std::vector<std::uint32_t> read_header(ByteReader& reader, std::uint8_t rank) {
    std::vector<std::uint8_t> bytes(4 + 4 * std::size_t{rank});
    const std::size_t got = reader.read(bytes.data(), bytes.size());
    if (got == 0) throw Error(fmt::format("{}: is empty; {}", reader.path(), advice));
    constexpr std::uint8_t unsigned_byte = 8;
    if (got >= 4 && !(bytes[0] == 0 && bytes[1] == 0 && bytes[2] == unsigned_byte && bytes[3] == rank))
        throw Error(fmt::format("{}: not an IDX file of {} (it starts with {:02x} {:02x} {:02x} {:02x}, expected 00 00 08 {:02x}); {}",
                                reader.path(), rank == 3 ? "images" : "labels", bytes[0], bytes[1], bytes[2], bytes[3], rank, advice));
    if (got < bytes.size())
        throw Error(fmt::format("{}: truncated, its header is {} bytes of {}; {}", reader.path(), got, bytes.size(), advice));
    std::vector<std::uint32_t> extents(rank);
    for (std::size_t i = 0; i < rank; ++i) {
        const std::uint8_t* word = bytes.data() + 4 + 4 * i;
        extents[i] = std::uint32_t{word[0]} << 24 | std::uint32_t{word[1]} << 16 | std::uint32_t{word[2]} << 8 | std::uint32_t{word[3]};
    }
    if (extents[0] == 0) throw Error(fmt::format("{}: its header announces no entries; {}", reader.path(), advice));
    return extents;
}

// Calls entry(bytes) for each of the `count` entries of `entry_bytes` bytes that the header announced. Memory is taken as
// entries come, so that a false header costs none.
template <class Entry>
void read_entries(ByteReader& reader, std::uint32_t count, std::size_t entry_bytes, const Entry& entry) {
    std::vector<std::uint8_t> bytes(entry_bytes);
    for (std::uint32_t i = 0; i < count; ++i) {
        if (reader.read(bytes.data(), entry_bytes) != entry_bytes)
            throw Error(
                fmt::format("{}: truncated, it ends in entry {} of the {} that its header announces; {}", reader.path(), i, count, advice));
        entry(bytes.data());
    }
    if (reader.read(bytes.data(), 1) != 0)
        throw Error(
            fmt::format("{}: too long, it goes on after the {} entries that its header announces; {}", reader.path(), count, advice));
}

}  // namespace

Dataset load_idx(const std::string& folder, Split split) {
    const std::string prefix = split == Split::train ? "train" : "t10k";
    ByteReader images(existing(folder, prefix + "-images-idx3-ubyte"));
    ByteReader labels(existing(folder, prefix + "-labels-idx1-ubyte"));

    const std::vector<std::uint32_t> extents = read_header(images, 3);
    if (extents[1] != idx_side || extents[2] != idx_side)
        throw Error(fmt::format("{}: its images are {} x {}, expected {} x {} (MNIST, Fashion-MNIST)", images.path(), extents[1],
                                extents[2], idx_side, idx_side));
    const std::uint32_t label_count = read_header(labels, 1)[0];
    if (label_count != extents[0])
        throw Error(fmt::format("{}: has {} images, but {} has {} labels: not of one set; fetch both again", images.path(), extents[0],
                                labels.path(), label_count));

    Dataset dataset;
    dataset.classes = idx_classes;
    read_entries(labels, label_count, 1, [&](const std::uint8_t* label) {
        if (*label >= idx_classes)
            throw Error(fmt::format("{}: label {} of entry {} is not one of 0 to {}: damaged, or of another set; {}", labels.path(), *label,
                                    dataset.labels.size(), idx_classes - 1, advice));
        dataset.labels.push_back(*label);
    });
    read_entries(images, extents[0], idx_side * idx_side, [&](const std::uint8_t* grey) {
        const std::size_t start = dataset.images.size();
        dataset.images.resize(start + image_bytes);  // zeros
        for (int y = 0; y < idx_side; ++y)
            for (int x = 0; x < idx_side; ++x) {
                std::uint8_t* pixel = dataset.images.data() + start + ((y + border) * image_side + x + border) * image_channels;
                pixel[0] = pixel[1] = pixel[2] = grey[y * idx_side + x];
            }
    });

    // Nothing in the files tells Fashion-MNIST from MNIST; the names of its classes are known, so its folder's name decides.
    std::error_code ignored;
    const bool fashion = fs::weakly_canonical(folder, ignored).string().find("fashion") != std::string::npos;
    dataset.name = fashion ? "fashion-mnist" : "idx";
    if (fashion)
        dataset.class_names = {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
    else
        for (int c = 0; c < idx_classes; ++c) dataset.class_names.push_back(std::to_string(c));
    // Mean and standard deviation of all 60,000 · 32 · 32 pixels of Fashion-MNIST's training set after padding, pixels
    // divided by 255 (0.2860 and 0.3530 before padding); test "fashion-mnist" computes them again.
    dataset.mean.fill(0.2190f);
    dataset.deviation.fill(0.3318f);
    return dataset;
}

}  // namespace mlkd
