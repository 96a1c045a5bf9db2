#include "data/readers/load.h"

#include <doctest/doctest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "tests/data/idx_files.h"
#include "tests/data/images.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
using namespace mlkd::test;
namespace fs = std::filesystem;

namespace {

// The message for a folder, whose files are named in it and which says what to do.
std::string refusal(const std::string& where, Split split = Split::test) {
    return test::error_of([&] { load_dataset(where, split); });
}

bool says(const std::string& message, std::initializer_list<const char*> parts) {
    for (const char* part : parts)
        if (!test::contains(message, part)) {
            MESSAGE("'" << message << "' lacks '" << part << "'");
            return false;
        }
    return true;
}

// Records of CIFAR-10 (one label byte) or CIFAR-100 (two): every byte tells its record, channel and pixel.
std::string cifar_records(std::int64_t count, int label_bytes) {
    std::string bytes;
    bytes.reserve(static_cast<std::size_t>(count * (label_bytes + 3072)));
    for (std::int64_t n = 0; n < count; ++n) {
        if (label_bytes == 2) bytes += static_cast<char>(n % 20);
        bytes += static_cast<char>(n % (label_bytes == 2 ? 100 : 10));
        for (int i = 0; i < 3072; ++i) bytes += static_cast<char>(n + i * 7 + i / 1024);
    }
    return bytes;
}

const std::string images_name = "t10k-images-idx3-ubyte", labels_name = "t10k-labels-idx1-ubyte";

void check_cifar_image(const Dataset& dataset, std::int64_t n, std::int64_t record) {
    for (int i = 0; i < 3072; ++i) {
        const int plane = i / 1024, pixel = i % 1024;
        REQUIRE(dataset.images[static_cast<std::size_t>(n * 3072 + pixel * 3 + plane)] ==
                static_cast<std::uint8_t>(record + i * 7 + plane));
    }
}

}  // namespace

TEST_CASE("load: CIFAR-100, also one level down, with its names") {
    const test::TemporaryFolder folder;
    fs::create_directory(folder / "cifar-100-binary");
    test::write_bytes(folder / "cifar-100-binary/test.bin", cifar_records(10000, 2));
    for (const std::string& where : {folder.path(), folder / "cifar-100-binary", folder / "cifar-100-binary/"}) {
        const Dataset dataset = load_dataset(where, Split::test);
        CHECK(dataset.name == "cifar100");
        CHECK(dataset.classes == 100);
        CHECK(dataset.size() == 10000);
        CHECK(dataset.class_names[99] == "99");
        CHECK(dataset.labels[9901] == 1);
        CHECK(dataset.mean[0] == 0.5071f);
        CHECK(dataset.deviation[2] == 0.2761f);
        for (const std::int64_t n : {0, 511, 512, 9999}) check_cifar_image(dataset, n, n);
    }
    std::string names;
    for (int c = 0; c < 100; ++c) names += "name" + std::to_string(c) + "\r\n";
    test::write_bytes(folder / "cifar-100-binary/fine_label_names.txt", names + "\n\n");
    CHECK(load_dataset(folder.path(), Split::test).class_names[42] == "name42");
    test::write_bytes(folder / "cifar-100-binary/fine_label_names.txt", names + "more\n");
    CHECK(says(refusal(folder.path()), {"fine_label_names.txt", "101 class names", "100 classes", "remove"}));
    fs::remove(folder / "cifar-100-binary/fine_label_names.txt");
    CHECK(says(refusal(folder.path(), Split::train), {"train.bin", "no such file", "fetch"}));
}

TEST_CASE("load: damaged CIFAR files") {
    const test::TemporaryFolder folder;
    const std::string path = folder / "test.bin", good = cifar_records(10000, 2);
    const auto refused = [&](const std::string& bytes) {
        test::write_bytes(path, bytes);
        return refusal(folder.path());
    };
    CHECK(says(refused(""), {path.c_str(), "is empty", "get_cifar100.sh"}));
    CHECK(says(refused(good.substr(0, 1)), {path.c_str(), "1 bytes", "truncated", "get_cifar100.sh"}));
    CHECK(says(refused(good.substr(0, good.size() - 1)), {path.c_str(), "30739999", "30740000", "truncated"}));
    CHECK(says(refused(good.substr(0, 5000 * 3074)), {path.c_str(), "truncated"}));
    CHECK(says(refused(good + "x"), {path.c_str(), "too long"}));
    CHECK(says(refused(std::string(30740000, 'x')), {path.c_str(), "label 120", "0 to 19"}));
    std::string bad = good;
    bad[777 * 3074 + 1] = 100;
    CHECK(says(refused(bad), {path.c_str(), "record 777", "label 100", "0 to 99"}));
    bad = good;
    bad[9999 * 3074] = 20;
    CHECK(says(refused(bad), {path.c_str(), "record 9999", "label 20", "0 to 19"}));
    bad = good;
    bad[0] = '\x1f', bad[1] = '\x8b';  // looks like gzip
    CHECK(says(refused(bad), {path.c_str()}));
    CHECK(refused(good).empty());

    fs::remove(path);
    fs::create_directory(path);
    CHECK(says(refusal(folder.path()), {path.c_str(), "is a folder"}));
    fs::remove(path);
    if (::geteuid() != 0) {
        test::write_bytes(path, good);
        ::chmod(path.c_str(), 0);
        CHECK(says(refusal(folder.path()), {path.c_str(), "permissions"}));
    }
}

TEST_CASE("load: CIFAR-10") {
    const test::TemporaryFolder folder;
    const std::string records = cifar_records(10000, 1);
    test::write_bytes(folder / "test_batch.bin", records);
    for (int b = 1; b <= 4; ++b) test::write_bytes(folder / ("data_batch_" + std::to_string(b) + ".bin"), records);
    CHECK(says(refusal(folder.path(), Split::train), {"data_batch_5.bin", "no such file"}));
    test::write_bytes(folder / "data_batch_5.bin", records);
    test::write_bytes(folder / "batches.meta.txt", "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n");
    const Dataset dataset = load_dataset(folder.path(), Split::train);
    CHECK(dataset.name == "cifar10");
    CHECK(dataset.size() == 50000);
    CHECK(dataset.classes == 10);
    CHECK(dataset.class_names[3] == "cat");
    check_cifar_image(dataset, 49999, 9999);
    CHECK(load_dataset(folder.path(), Split::test).size() == 10000);
    std::string bad = records;
    bad[3073 * 12] = 10;
    test::write_bytes(folder / "data_batch_5.bin", bad);
    CHECK(says(refusal(folder.path(), Split::train), {"data_batch_5.bin", "record 12", "label 10", "0 to 9"}));
}

TEST_CASE("load: IDX, plain and gzip") {
    const test::TemporaryFolder folder;
    for (const bool gzip : {true, false}) {
        if (gzip) {
            write_gzip(folder / (images_name + ".gz"), idx_images(23));
            write_gzip(folder / (labels_name + ".gz"), idx_labels(23));
        } else {  // preferred over those above
            test::write_bytes(folder / images_name, idx_images(24));
            test::write_bytes(folder / labels_name, idx_labels(24));
        }
        const Dataset dataset = load_dataset(folder.path(), Split::test);
        CHECK(dataset.name == "idx");
        CHECK(dataset.classes == 10);
        CHECK(dataset.size() == (gzip ? 23 : 24));
        CHECK(dataset.labels[22] == 2);
        REQUIRE(dataset.images.size() == static_cast<std::size_t>(dataset.size()) * 3072);
        for (std::size_t n = 0; n < 23; ++n)
            for (std::size_t i = 0; i < 3072; ++i) {
                const std::size_t x = i / 3 % 32, y = i / 96;
                const bool inside = x >= 2 && x < 30 && y >= 2 && y < 30;
                REQUIRE(dataset.images[n * 3072 + i] == (inside ? (n * 784 + (y - 2) * 28 + x - 2) % 251 + 1 : 0));
            }
    }
}

TEST_CASE("load: damaged IDX files") {
    const test::TemporaryFolder folder;
    const std::string images = folder / images_name, labels = folder / labels_name;
    const auto refused = [&](const std::string& image_bytes_, const std::string& label_bytes) {
        test::write_bytes(images, image_bytes_);
        test::write_bytes(labels, label_bytes);
        return refusal(folder.path());
    };
    const std::string good = idx_images(7), good_labels = idx_labels(7);
    CHECK(refused(good, good_labels).empty());
    CHECK(says(refused("", good_labels), {images.c_str(), "is empty", "fetch"}));
    CHECK(says(refused(good, ""), {labels.c_str(), "is empty"}));
    CHECK(says(refused(good.substr(0, 3), good_labels), {images.c_str(), "truncated"}));
    CHECK(says(refused(good.substr(0, 15), good_labels), {images.c_str(), "truncated"}));
    CHECK(says(refused(good.substr(0, good.size() - 1), good_labels), {images.c_str(), "truncated", "entry 6 of the 7"}));
    CHECK(says(refused(good, good_labels.substr(0, 12)), {labels.c_str(), "truncated", "entry 4 of the 7"}));
    CHECK(says(refused(good + "x", good_labels), {images.c_str(), "too long"}));
    CHECK(says(refused(good, good_labels + "x"), {labels.c_str(), "too long"}));
    CHECK(says(refused("GIF89a, surely not IDX", good_labels), {images.c_str(), "not an IDX file of images", "47 49 46 38"}));
    CHECK(says(refused(good_labels, good_labels), {images.c_str(), "not an IDX file of images"}));
    CHECK(says(refused(good, good), {labels.c_str(), "not an IDX file of labels"}));
    CHECK(says(refused(good, idx_labels(8)), {images.c_str(), "7 images", labels.c_str(), "8 labels"}));
    CHECK(says(refused(idx_images(0), idx_labels(0)), {images.c_str(), "no entries"}));
    CHECK(says(refused(idx_images(7, 32), good_labels), {images.c_str(), "32 x 32", "28 x 28"}));
    std::string bad = good_labels;
    bad[8 + 5] = 10;
    CHECK(says(refused(good, bad), {labels.c_str(), "label 10 of entry 5", "0 to 9"}));
    // A header that announces 4 G images costs neither memory nor time.
    std::string boastful = good, boastful_labels = good_labels;
    boastful.replace(4, 4, "\xff\xff\xff\xff"), boastful_labels.replace(4, 4, "\xff\xff\xff\xff");
    CHECK(says(refused(boastful, boastful_labels), {labels.c_str(), "truncated"}));
    fs::remove(labels);
    CHECK(says(refusal(folder.path()), {labels.c_str(), "no such file"}));
    CHECK(says(refusal(folder.path(), Split::train), {"train-images-idx3-ubyte", "no such file"}));
}

TEST_CASE("load: damaged gzip") {
    const test::TemporaryFolder folder;
    const std::string images = folder / (images_name + ".gz");
    write_gzip(images, idx_images(50));
    write_gzip(folder / (labels_name + ".gz"), idx_labels(50));
    const std::string good = test::read_bytes(images);
    CHECK(refusal(folder.path()).empty());
    for (const std::size_t kept : {good.size() - 1, good.size() - 8, good.size() / 2, std::size_t{11}}) {
        CAPTURE(kept);
        test::write_bytes(images, good.substr(0, kept));
        CHECK(says(refusal(folder.path()), {images.c_str(), "fetch it again"}));
    }
    test::write_bytes(images, good.substr(0, good.size() / 2));
    CHECK(says(refusal(folder.path()), {"damaged gzip", "ends in the middle"}));
    for (std::size_t at = 2; at < good.size(); at += 5) {  // no flipped byte passes but in the time stamp and the system
        if (at >= 4 && at <= 9) continue;
        std::string bad = good;
        bad[at] = static_cast<char>(bad[at] ^ 0x55);
        test::write_bytes(images, bad);
        CAPTURE(at);
        CHECK(says(refusal(folder.path()), {images.c_str()}));
    }
    test::write_bytes(images, std::string("not gzip at all"));
    CHECK(says(refusal(folder.path()), {images.c_str(), "not an IDX file"}));
    test::write_bytes(images, "");
    CHECK(says(refusal(folder.path()), {images.c_str(), "is empty"}));
}

TEST_CASE("load: folders without a data set") {
    const test::TemporaryFolder folder;
    CHECK(says(refusal(folder / "nowhere"), {"nowhere", "no folder", "name the folder"}));
    CHECK(says(refusal(folder.path()), {folder.path().c_str(), "holds no data set", "CIFAR-100", "CIFAR-10", "IDX", "get_cifar100.sh"}));
    test::write_bytes(folder / "file", "content");
    CHECK(says(refusal(folder / "file"), {"file", "is not a folder"}));
    fs::create_directory(folder / "cifar-100-python");
    CHECK(says(refusal(folder.path()), {"Python version", "get_cifar100.sh"}));
    fs::create_directory(folder / "a"), fs::create_directory(folder / "b");
    test::write_bytes(folder / "a/test.bin", ""), test::write_bytes(folder / ("b/" + images_name), "");
    CHECK(says(refusal(folder.path()), {folder.path().c_str(), "several data sets", "(a, b)"}));
    CHECK(!refusal("").empty());
}

TEST_CASE("load: synthetic data are a function of their name, and learnable") {
    const Dataset train = load_dataset("synthetic", Split::train);
    CHECK(train.size() == 512);
    CHECK(train.classes == 10);
    CHECK(train.class_names.size() == 10);
    CHECK(load_dataset("synthetic:77", Split::train).size() == 77);
    const Dataset named = load_dataset("synthetic:300:7", Split::train);
    CHECK(named.size() == 300);
    CHECK(named.classes == 7);
    CHECK(named.images == load_dataset("synthetic:300:7", Split::train).images);
    const Dataset test = load_dataset("synthetic:300:7", Split::test);
    CHECK(test.images != named.images);

    // The nearest class mean of the training images tells the class of a test image.
    std::vector<double> mean(7 * 3072, 0.0);
    for (std::size_t n = 0; n < 300; ++n)
        for (std::size_t i = 0; i < 3072; ++i)
            mean[static_cast<std::size_t>(named.labels[n]) * 3072 + i] +=
                named.images[n * 3072 + i] / std::ceil((300.0 - named.labels[n]) / 7);
    int right = 0;
    for (std::size_t n = 0; n < 300; ++n) {
        std::size_t best = 0;
        double least = 1e30;
        for (std::size_t c = 0; c < 7; ++c) {
            double distance = 0;
            for (std::size_t i = 0; i < 3072; ++i) distance += std::pow(test.images[n * 3072 + i] - mean[c * 3072 + i], 2);
            if (distance < least) least = distance, best = c;
        }
        right += static_cast<std::int32_t>(best) == test.labels[n];
    }
    CHECK(right == 300);

    for (const char* bad : {"synthetic:", "synthetic:0", "synthetic:-4", "synthetic:10:0", "synthetic:ten", "synthetic:10:",
                            "synthetic:10x", "synthetic:99999999999999999999", "synthetic:10:10:10", "synthetic:10000000"}) {
        CAPTURE(bad);
        CHECK_THROWS_AS(load_dataset(bad, Split::train), UsageError);
        CHECK(says(refusal(bad), {bad, "synthetic:IMAGES:CLASSES"}));
    }
}

TEST_CASE("load: fashion-mnist as Debian installs it, and its constants") {
    const std::string folder = "/usr/share/datasets/fashion-mnist";
    if (!fs::exists(folder)) {
        MESSAGE("skipped: dataset-fashion-mnist is not installed");
        return;
    }
    const Dataset test = load_dataset(folder, Split::test);
    CHECK(test.size() == 10000);
    const Dataset train = load_dataset(folder, Split::train);
    CHECK(train.name == "fashion-mnist");
    CHECK(train.size() == 60000);
    CHECK(train.class_names[9] == "Ankle boot");
    std::vector<int> of_class(10);
    for (const std::int32_t label : train.labels) ++of_class[static_cast<std::size_t>(label)];
    CHECK(of_class == std::vector<int>(10, 6000));

    std::vector<double> count(256);
    for (std::size_t i = 0; i < train.images.size(); i += 3) ++count[train.images[i]];
    double sum = 0, squares = 0;
    for (std::size_t v = 0; v < 256; ++v) {
        const double value = static_cast<double>(v) / 255;
        sum += count[v] * value, squares += count[v] * value * value;
    }
    const double pixels = 60000.0 * 1024, mean = sum / pixels;
    CHECK(std::abs(mean - double{train.mean[0]}) < 5e-5);
    CHECK(std::abs(std::sqrt(squares / pixels - mean * mean) - double{train.deviation[0]}) < 5e-5);
}
