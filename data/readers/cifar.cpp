// The binary versions of CIFAR-10 and CIFAR-100 (Krizhevsky, "Learning multiple layers of features from tiny images",
// 2009): records of labels and 3072 bytes, the planes R, G, B, each by rows.
#include <fmt/format.h>

#include <algorithm>
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

// One of CIFAR's record layouts.
struct Layout {
    const char* name;
    std::vector<int> label_counts;  // classes of each label byte; the last one is the label
    const char* names_file;
    const char* advice;
};

std::string join(const std::string& folder, const std::string& file) { return (fs::path(folder) / file).string(); }

// Appends the `records` records of a file.
void append_records(Dataset& dataset, const std::string& path, const Layout& layout, std::int64_t records) {
    const std::size_t label_bytes = layout.label_counts.size();
    const std::size_t record_bytes = label_bytes + image_bytes;
    const std::size_t expected = record_bytes * static_cast<std::size_t>(records);

    ByteReader reader(path);
    std::error_code code;
    const auto size = static_cast<std::size_t>(fs::file_size(path, code));
    if (code) throw Error(fmt::format("{}: its size cannot be read ({})", path, code.message()));
    if (size == 0) throw Error(fmt::format("{}: is empty; {}", path, layout.advice));
    if (size != expected)
        throw Error(fmt::format("{}: has {} bytes, but {}'s {} has {} ({} records of {}): {}; {}", path, size, layout.name,
                                fs::path(path).filename().string(), expected, records, record_bytes,
                                size < expected ? "truncated" : "too long", layout.advice));

    constexpr std::int64_t chunk = 512;  // records read at once: 1.5 MB
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(chunk) * record_bytes);
    for (std::int64_t first = 0; first < records; first += chunk) {
        const std::int64_t count = std::min(chunk, records - first);
        if (reader.read(bytes.data(), static_cast<std::size_t>(count) * record_bytes) != static_cast<std::size_t>(count) * record_bytes)
            throw Error(fmt::format("{}: ends before its {} records; {}", path, records, layout.advice));
        for (std::int64_t r = 0; r < count; ++r) {
            const std::uint8_t* record = bytes.data() + static_cast<std::size_t>(r) * record_bytes;
            for (std::size_t l = 0; l < label_bytes; ++l)
                if (record[l] >= layout.label_counts[l])
                    throw Error(fmt::format("{}: record {} has label {}, but {} has labels 0 to {} there: not such a file, or damaged; {}",
                                            path, first + r, record[l], layout.name, layout.label_counts[l] - 1, layout.advice));
            dataset.labels.push_back(record[label_bytes - 1]);
            const std::uint8_t* planes = record + label_bytes;
            const std::size_t start = dataset.images.size();
            dataset.images.resize(start + image_bytes);
            std::uint8_t* image = dataset.images.data() + start;
            for (int pixel = 0; pixel < image_pixels; ++pixel)
                for (int channel = 0; channel < image_channels; ++channel)
                    image[pixel * image_channels + channel] = planes[channel * image_pixels + pixel];
        }
    }
}

void read_class_names(Dataset& dataset, const std::string& folder, const Layout& layout) {
    const std::string path = join(folder, layout.names_file);
    std::error_code ignored;
    if (!fs::exists(path, ignored)) {
        for (std::int64_t c = 0; c < dataset.classes; ++c) dataset.class_names.push_back(std::to_string(c));
        return;
    }
    dataset.class_names = read_lines(path);
    if (static_cast<std::int64_t>(dataset.class_names.size()) != dataset.classes)
        throw Error(fmt::format("{}: has {} class names, but {} has {} classes; {}, or remove this file", path, dataset.class_names.size(),
                                layout.name, dataset.classes, layout.advice));
}

Dataset load(const std::string& folder, const Layout& layout, const std::vector<std::string>& files, std::int64_t records_per_file) {
    Dataset dataset;
    dataset.classes = layout.label_counts.back();
    const auto total = files.size() * static_cast<std::size_t>(records_per_file);
    dataset.labels.reserve(total);
    dataset.images.reserve(total * image_bytes);
    for (const std::string& file : files) append_records(dataset, join(folder, file), layout, records_per_file);
    read_class_names(dataset, folder, layout);
    return dataset;
}

}  // namespace

Dataset load_cifar100(const std::string& folder, Split split) {
    const Layout layout{"CIFAR-100", {20, 100}, "fine_label_names.txt", "fetch the binary version again (scripts/get_cifar100.sh)"};
    Dataset dataset = split == Split::train ? load(folder, layout, {"train.bin"}, 50000) : load(folder, layout, {"test.bin"}, 10000);
    dataset.name = "cifar100";
    dataset.mean = {0.5071f, 0.4867f, 0.4408f};
    dataset.deviation = {0.2675f, 0.2565f, 0.2761f};
    return dataset;
}

Dataset load_cifar10(const std::string& folder, Split split) {
    const Layout layout{
        "CIFAR-10", {10}, "batches.meta.txt", "fetch the binary version again (https://www.cs.toronto.edu/~kriz/cifar.html)"};
    const std::vector<std::string> train{"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                                         "data_batch_5.bin"};
    Dataset dataset = load(folder, layout, split == Split::train ? train : std::vector<std::string>{"test_batch.bin"}, 10000);
    dataset.name = "cifar10";
    // Of the training set, the deviation over all its pixels.
    dataset.mean = {0.4914f, 0.4822f, 0.4465f};
    dataset.deviation = {0.2470f, 0.2435f, 0.2616f};
    return dataset;
}

}  // namespace mlkd
