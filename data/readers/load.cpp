#include "data/readers/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>
#include <vector>

#include "engine/error.h"

namespace mlkd {

namespace {

namespace fs = std::filesystem;

using LoadFunction = Dataset (*)(const std::string& folder, Split split);

struct Format {
    const char* name;
    LoadFunction load;
    std::vector<const char*> files;  // one of them is enough
};
const std::vector<Format>& formats() {
    static const std::vector<Format> all = {
        {"CIFAR-100", load_cifar100, {"train.bin", "test.bin"}},
        {"CIFAR-10", load_cifar10, {"data_batch_1.bin", "test_batch.bin"}},
        {"IDX",
         load_idx,
         {"train-images-idx3-ubyte", "t10k-images-idx3-ubyte", "train-images-idx3-ubyte.gz", "t10k-images-idx3-ubyte.gz",
          "train-images.idx3-ubyte", "t10k-images.idx3-ubyte", "train-images.idx3-ubyte.gz", "t10k-images.idx3-ubyte.gz"}}};
    return all;
}

// The format of the files that a folder holds, by their names; nullptr for none. Throws where there are two.
const Format* format_of(const fs::path& folder) {
    const Format* found = nullptr;
    for (const Format& format : formats()) {
        std::error_code ignored;
        if (std::none_of(format.files.begin(), format.files.end(), [&](const char* file) { return fs::exists(folder / file, ignored); }))
            continue;
        if (found != nullptr)
            throw Error(fmt::format("data: folder {} holds files of {} and of {}; put each into a folder of its own", folder.string(),
                                    found->name, format.name));
        found = &format;
    }
    return found;
}

constexpr int deepest_level = 2;  // torchvision keeps FashionMNIST/raw in its root

// The folders inside folders. One that cannot be listed is an error only where it `matters`.
std::vector<fs::path> subfolders(const std::vector<fs::path>& folders, bool matters) {
    std::vector<fs::path> found;
    for (const fs::path& folder : folders) {
        std::error_code code;
        for (fs::directory_iterator entry(folder, code), end; !code && entry != end; entry.increment(code)) {
            std::error_code ignored;
            if (entry->is_directory(ignored)) found.push_back(entry->path());
        }
        if (code && matters)
            throw Error(fmt::format("data: folder {} cannot be listed ({}); check its permissions", folder.string(), code.message()));
    }
    std::sort(found.begin(), found.end());
    return found;
}

Dataset load_folder(const std::string& folder, Split split) {
    std::error_code code;
    const auto status = fs::status(folder, code);
    if (status.type() == fs::file_type::not_found)
        throw Error(fmt::format("data: no folder {}; name the folder of a data set, or use 'synthetic'", folder));
    if (status.type() != fs::file_type::directory)
        throw Error(fmt::format("data: {} is not a folder{}; name the folder that holds the data files", folder,
                                code ? " that can be read (" + code.message() + ")" : std::string()));
    bool python_version = fs::exists(fs::path(folder) / "meta", code);
    std::vector<fs::path> level{folder};
    for (int depth = 0; depth <= deepest_level; ++depth) {
        std::vector<fs::path> candidates;
        for (const fs::path& inner : level) {
            if (format_of(inner) != nullptr) candidates.push_back(inner);
            python_version = python_version || inner.filename() == "cifar-100-python";
        }
        if (candidates.size() == 1) return format_of(candidates[0])->load(candidates[0].string(), split);
        if (candidates.size() > 1)
            throw Error(fmt::format("data: folder {} holds several data sets ({}, {}{}); name one of them", folder,
                                    candidates[0].lexically_relative(folder).string(), candidates[1].lexically_relative(folder).string(),
                                    candidates.size() > 2 ? ", …" : ""));
        level = depth < deepest_level ? subfolders(level, depth == 0) : std::vector<fs::path>{};
    }
    if (python_version)
        throw Error(fmt::format("data: folder {} holds the Python version of CIFAR, which is not read; "
                                "fetch the binary version (scripts/get_cifar100.sh)", folder));
    throw Error(fmt::format("data: folder {} holds no data set: neither CIFAR-100 (train.bin, test.bin), CIFAR-10 (data_batch_1.bin), "
                            "nor IDX (train-images-idx3-ubyte[.gz]); scripts/get_cifar100.sh fetches CIFAR-100", folder));
}

// "synthetic", "synthetic:IMAGES", "synthetic:IMAGES:CLASSES"; `rest` is what follows "synthetic".
Dataset load_synthetic(const std::string& where, std::string_view rest, Split split) {
    const auto number = [&](std::int64_t fallback, std::int64_t most) {
        if (rest.empty()) return fallback;
        std::int64_t value = 0;
        const char* end = rest.data() + rest.size();
        const auto [stop, status] = std::from_chars(rest.data() + 1, end, value);
        if (rest[0] != ':' || status != std::errc() || (stop != end && *stop != ':') || value < 1 || value > most)
            throw UsageError(fmt::format("data: '{}' is not understood; write synthetic:IMAGES:CLASSES, with 1 to 1000000 images and "
                                         "1 to 10000 classes", where));
        rest.remove_prefix(static_cast<std::size_t>(stop - rest.data()));
        return value;
    };
    const std::int64_t images = number(512, 1000000);
    const std::int64_t classes = number(10, 10000);
    if (!rest.empty()) throw UsageError(fmt::format("data: '{}' has too many parts; write synthetic:IMAGES:CLASSES", where));
    return make_synthetic(images, classes, split);
}

}  // namespace

Dataset load_dataset(const std::string& where, Split split) {
    constexpr std::string_view synthetic = "synthetic";
    if (where.empty()) throw UsageError("data: no folder named");
    if (where == synthetic || where.starts_with("synthetic:"))
        return load_synthetic(where, std::string_view(where).substr(synthetic.size()), split);
    return load_folder(where, split);
}

}  // namespace mlkd
