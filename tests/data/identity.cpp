// Which data set lies in a folder: its content tells, not its name.
#include <doctest/doctest.h>

#include <filesystem>
#include <limits>

#include "data/readers/load.h"
#include "tests/data/idx_files.h"
#include "tests/data/images.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using namespace mlkd::test;
namespace fs = std::filesystem;

namespace {

const std::string debian = "/usr/share/datasets/fashion-mnist";

void write_idx(const std::string& folder, const std::string& labels, std::uint32_t count) {
    fs::create_directories(folder);
    for (const char* part : {"train", "t10k"}) {
        write_bytes(folder + "/" + part + "-images-idx3-ubyte", idx_images(count));
        write_bytes(folder + "/" + part + "-labels-idx1-ubyte", std::string("\0\0\x08\x01", 4) + big_endian(count) + labels);
    }
}

}  // namespace

TEST_CASE("identity: a folder's name does not make a data set") {
    const TemporaryFolder folder;
    write_idx(folder / "fashion-lab/fashion-mnist", idx_labels(23).substr(8), 23);
    const Dataset dataset = load_dataset(folder / "fashion-lab/fashion-mnist", Split::train);
    CHECK(dataset.name == "idx");
    CHECK(dataset.class_names == std::vector<std::string>{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
}

TEST_CASE("identity: MNIST by its published first labels, in whole or in part") {
    const TemporaryFolder folder;
    const std::string first("\5\0\4\1\x9\2\1\3\1\4\3\5\3\6\1\7\2\x8\6\x9", 20);
    write_idx(folder / "x", first + "\7", 21);
    CHECK(load_dataset(folder / "x", Split::train).name == "mnist");
    CHECK(load_dataset(folder / "x", Split::test).name == "idx");  // the first labels of the test set are others
    write_idx(folder / "x", first.substr(0, 19), 19);
    CHECK(load_dataset(folder / "x", Split::train).name == "idx");
    std::string other = first;
    other[19] = 8;
    write_idx(folder / "x", other, 20);
    CHECK(load_dataset(folder / "x", Split::train).name == "idx");
}

TEST_CASE("identity: Fashion-MNIST under any name and in torchvision's folders, plain and gzip") {
    if (!fs::exists(debian)) {
        MESSAGE("skipped: dataset-fashion-mnist is not installed");
        return;
    }
    const TemporaryFolder folder;
    fs::create_directories(folder / "root/FashionMNIST/raw");
    for (const auto& entry : fs::directory_iterator(debian))
        fs::copy_file(entry.path(), folder / "root/FashionMNIST/raw" / entry.path().filename());
    const Dataset expected = load_dataset(debian, Split::test);
    for (const char* where : {"root", "root/FashionMNIST", "root/FashionMNIST/raw"}) {
        const Dataset dataset = load_dataset(folder / where, Split::test);
        CHECK(dataset.name == "fashion-mnist");
        CHECK(dataset.class_names[9] == "Ankle boot");
        CHECK(content_crc(dataset) == content_crc(expected));
    }
    CHECK(load_dataset(folder / "root", Split::train).name == "fashion-mnist");
    // Its labels with other images are another set.
    const std::string labels_name = "t10k-labels-idx1-ubyte.gz";
    fs::create_directories(folder / "other");
    fs::copy_file(fs::path(debian) / labels_name, folder / ("other/" + labels_name));
    write_gzip(folder / "other/t10k-images-idx3-ubyte.gz", idx_images(10000));
    CHECK(load_dataset(folder / "other", Split::test).name == "idx");
    // Two sets in one root, and files of two formats in one folder.
    fs::rename(folder / "other", folder / "root/MNIST");
    fs::copy(folder / "root/MNIST", folder / "root/KMNIST");
    CHECK(contains(error_of([&] { load_dataset(folder / "root", Split::test); }), "several data sets (KMNIST, MNIST)"));
    write_bytes(folder / "root/KMNIST/test.bin", "");
    CHECK(contains(error_of([&] { load_dataset(folder / "root/KMNIST", Split::test); }), "files of CIFAR-100 and of IDX"));
}

TEST_CASE("identity: the other spelling of IDX files") {
    const TemporaryFolder folder;
    write_bytes(folder / "t10k-images.idx3-ubyte", idx_images(7));
    write_bytes(folder / "t10k-labels.idx1-ubyte", idx_labels(7));
    CHECK(load_dataset(folder.path(), Split::test).size() == 7);
}

TEST_CASE("identity: the checksum is the content's") {
    const Dataset dataset = noise_dataset(13);
    Dataset other = dataset;
    other.name = "another name";
    CHECK(content_crc(other) == content_crc(dataset));
    other.images[13 * 3072 - 1] ^= 1;
    CHECK(content_crc(other) != content_crc(dataset));
    other = dataset;
    other.labels[3] = (other.labels[3] + 1) % 5;
    CHECK(content_crc(other) != content_crc(dataset));
}

TEST_CASE("identity: constants that cannot normalise are refused") {
    Dataset dataset = noise_dataset(3);
    for (const float deviation : {0.0f, std::numeric_limits<float>::quiet_NaN()}) {
        dataset.deviation[1] = deviation;
        CHECK(contains(error_of([&] { normalisation_table(dataset); }), "channel 1"));
    }
}
