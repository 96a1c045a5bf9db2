// IDX, the format of MNIST and Fashion-MNIST: a big-endian header (0, 0, element type, rank, then the extents) and the
// elements; the files may be gzip. Which set it is, the labels and the first image tell; names of folders tell nothing.
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>
#include <vector>

#include "data/image.h"
#include "data/readers/file.h"
#include "data/readers/load.h"
#include "engine/error.h"

namespace mlkd {

namespace {

namespace fs = std::filesystem;

constexpr int idx_side = 28;
constexpr int idx_classes = 10;
constexpr int border = (image_side - idx_side) / 2;
constexpr const char* advice = "fetch it again";

// A published set: the first labels of its files, and the CRC-32 of the first image (784 bytes; 0: not compared).
struct KnownSet {
    const char* name;
    struct Part {
        std::array<std::uint8_t, 20> labels;
        std::uint32_t image_crc;
    } train, test;
    std::array<const char*, idx_classes> class_names;
};
constexpr KnownSet known_sets[] = {
    {"mnist",
     {{5, 0, 4, 1, 9, 2, 1, 3, 1, 4, 3, 5, 3, 6, 1, 7, 2, 8, 6, 9}, 0},
     {{7, 2, 1, 0, 4, 1, 4, 9, 5, 9, 0, 6, 9, 0, 1, 5, 9, 7, 3, 4}, 0},
     {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}},
    {"fashion-mnist",
     {{9, 0, 0, 3, 0, 2, 7, 2, 5, 5, 0, 9, 5, 5, 7, 9, 1, 0, 6, 4}, 0xf270beb5},
     {{9, 2, 1, 1, 6, 1, 4, 6, 5, 7, 4, 5, 7, 3, 4, 1, 2, 4, 8, 0}, 0x52830860},
     {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"}}};

// The set whose training or test files start like these; nullptr for one that is not known.
const KnownSet* recognised(const std::vector<std::int32_t>& labels, std::uint32_t image_crc, Split split) {
    for (const KnownSet& set : known_sets) {
        const KnownSet::Part& part = split == Split::train ? set.train : set.test;
        const bool same_labels = labels.size() >= part.labels.size() && std::equal(part.labels.begin(), part.labels.end(), labels.begin());
        if (same_labels && (part.image_crc == 0 || part.image_crc == image_crc)) return &set;
    }
    return nullptr;
}

// The plain file if it is there, else the gzip one. "train-images-idx3-ubyte" is also spelt "train-images.idx3-ubyte".
std::string existing(const std::string& folder, const std::string& part, const std::string& type) {
    std::error_code ignored;
    for (const char* const ending : {"", ".gz"})
        for (const char* const separator : {"-", "."})
            if (const fs::path path = fs::path(folder) / (part + separator + type + ending); fs::exists(path, ignored))
                return path.string();
    return (fs::path(folder) / (part + "-" + type)).string();
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

bool is_idx(const std::string& name) {
    return name == "idx" ||
           std::any_of(std::begin(known_sets), std::end(known_sets), [&](const KnownSet& set) { return name == set.name; });
}

Dataset load_idx(const std::string& folder, Split split) {
    const std::string prefix = split == Split::train ? "train" : "t10k";
    ByteReader images(existing(folder, prefix + "-images", "idx3-ubyte"));
    ByteReader labels(existing(folder, prefix + "-labels", "idx1-ubyte"));

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
    std::uint32_t first_image_crc = 0;
    read_entries(images, extents[0], idx_side * idx_side, [&](const std::uint8_t* grey) {
        const std::size_t start = dataset.images.size();
        if (start == 0) first_image_crc = static_cast<std::uint32_t>(crc32(0, grey, idx_side * idx_side));
        dataset.images.resize(start + image_bytes);  // zeros
        for (int y = 0; y < idx_side; ++y)
            for (int x = 0; x < idx_side; ++x) {
                std::uint8_t* pixel = dataset.images.data() + start + ((y + border) * image_side + x + border) * image_channels;
                pixel[0] = pixel[1] = pixel[2] = grey[y * idx_side + x];
            }
    });

    const KnownSet* const known = recognised(dataset.labels, first_image_crc, split);
    dataset.name = known ? known->name : "idx";
    for (int c = 0; c < idx_classes; ++c)
        dataset.class_names.push_back(known ? known->class_names[static_cast<std::size_t>(c)] : std::to_string(c));
    // Mean and standard deviation of all 60,000 · 32 · 32 pixels of Fashion-MNIST's training set after padding, pixels
    // divided by 255 (0.2860 and 0.3530 before padding); test "fashion-mnist" computes them again. One pair for all IDX sets, so
    // that a network sees an image alike whatever set it is found in; the first batch norm levels what is left.
    dataset.mean.fill(0.2190f);
    dataset.deviation.fill(0.3318f);
    return dataset;
}

}  // namespace mlkd
