// scripts/get_cifar100.sh with a stand-in for curl in its PATH: no network is touched.
#include <doctest/doctest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "tests/data/images.h"
#include "tests/support/sources.h"
#include "tests/support/temporary_folder.h"

using namespace mlkd;
namespace fs = std::filesystem;

namespace {

struct Outcome {
    int code;
    std::string output;  // both streams
};

void write_program(const std::string& path, const std::string& body) {
    test::write_bytes(path, "#!/bin/sh\n" + body + "\n");
    fs::permissions(path, fs::perms::owner_all);
}

Outcome run(const test::TemporaryFolder& folder, const std::string& arguments) {
    const fs::path script = test::sources() / "scripts/get_cifar100.sh";
    const std::string command =
        "cd " + folder.path() + " && PATH=" + (folder / "bin") + ":$PATH " + script.string() + " " + arguments + " >out 2>&1";
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, test::read_bytes(folder / "out")};
}

void make_file(const std::string& path, std::uintmax_t bytes) {
    test::write_bytes(path, "");
    fs::resize_file(path, bytes);  // sparse
}

bool is_one_line(const std::string& text) { return !text.empty() && text.find('\n') == text.size() - 1; }

}  // namespace

TEST_CASE("get_cifar100: no network, a wrong download, a complete set, the way through") {
    const test::TemporaryFolder folder;
    fs::create_directory(folder / "bin");

    write_program(folder / "bin/curl", "exit 6");
    Outcome outcome = run(folder, "data");
    CHECK(outcome.code == 1);
    CHECK(is_one_line(outcome.output));
    CHECK(test::contains(outcome.output, "no network"));
    CHECK(fs::is_empty(folder / "data"));

    const std::string find_output = "while [ $# -gt 0 ]; do [ \"$1\" = --output ] && out=$2; shift; done\n";
    write_program(folder / "bin/curl", find_output + "echo surprise >\"$out\"");
    outcome = run(folder, "data");
    CHECK(outcome.code == 1);
    CHECK(is_one_line(outcome.output));
    CHECK(test::contains(outcome.output, "03b5dce01913d631647c71ecec9e9cb8"));
    CHECK(fs::is_empty(folder / "data"));

    // An archive of empty records, and a stand-in for md5sum that likes it.
    fs::create_directories(folder / "made/cifar-100-binary");
    make_file(folder / "made/cifar-100-binary/train.bin", 153700000);
    make_file(folder / "made/cifar-100-binary/test.bin", 30740000);
    REQUIRE(std::system(("tar -cf - -C " + (folder / "made") + " cifar-100-binary | gzip -1 >" + (folder / "archive")).c_str()) == 0);
    write_program(folder / "bin/curl", find_output + "cp " + (folder / "archive") + " \"$out\"");
    write_program(folder / "bin/md5sum", "echo 03b5dce01913d631647c71ecec9e9cb8 \"$1\"");
    outcome = run(folder, "data");
    CHECK(outcome.code == 0);
    CHECK(outcome.output == "CIFAR-100 is in data/cifar-100-binary\n");
    CHECK(fs::file_size(folder / "data/cifar-100-binary/train.bin") == 153700000);
    CHECK(std::distance(fs::directory_iterator(folder / "data"), fs::directory_iterator()) == 1);

    write_program(folder / "bin/curl", "exit 6");  // the second time nothing is fetched
    CHECK(run(folder, "data").code == 0);

    CHECK(run(folder, "/dev/null/data").code == 1);
    CHECK(run(folder, "--fast").code == 2);
    CHECK(run(folder, "a b").code == 2);
}
