// Runs on a file system that is too small for them.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <sys/mount.h>

#include "apps/train/run_folder.h"
#include "engine/error.h"
#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

// A file system in memory on a folder; needs the right to mount.
class SmallDisk {
public:
    SmallDisk(std::string folder, std::uintmax_t bytes) : folder_(std::move(folder)) {
        fs::create_directories(folder_);
        mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, fmt::format("size={}", bytes).c_str()) == 0;
        if (!mounted_) MESSAGE("skipped: no right to mount a small file system");
    }
    ~SmallDisk() {
        if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
    }
    SmallDisk(const SmallDisk&) = delete;
    SmallDisk& operator=(const SmallDisk&) = delete;

    bool mounted() const { return mounted_; }
    void resize(std::uintmax_t bytes) {
        REQUIRE(::mount("tmpfs", folder_.c_str(), "tmpfs", MS_REMOUNT, fmt::format("size={}", bytes).c_str()) == 0);
    }

private:
    std::string folder_;
    bool mounted_;
};

std::uintmax_t bytes_in(const std::string& folder) {
    std::uintmax_t bytes = 0;
    for (const auto& entry : fs::directory_iterator(folder)) bytes += entry.file_size();
    return bytes;
}

}  // namespace

TEST_CASE("full disk: the run ends with one line, keeps its last checkpoint, and goes on when there is room") {
    const TemporaryFolder folder;
    const std::string disk = folder / "disk", run = disk + "/run";
    // The first epoch's files fit, but not another full checkpoint beside them: that of its training is there, not that of
    // its evaluation.
    const std::uintmax_t full = fs::file_size(teacher_run() + "/last.safetensors");
    SmallDisk small(disk, bytes_in(teacher_run()) + full / 2);
    if (!small.mounted()) return;
    folder_with_plans_of(teacher_run(), run);
    const Outcome outcome = run_mlkd(train_arguments(run));
    CHECK(outcome.exit_code == 1);
    CHECK_MESSAGE(is_one_line(outcome.err), outcome.err);
    CHECK(outcome.err.find(run) != std::string::npos);
    CHECK(outcome.err.find("No space left on device") != std::string::npos);
    CHECK(files_with(run, ".tmp").empty());
    const SafetensorsFile last = read_safetensors(run + "/last.safetensors");
    CHECK(last.meta("epoch") == "0");
    const Outcome evaluated = run_mlkd({"eval", "--device", "cpu", "--threads", "2", "--checkpoint", run + "/last.safetensors", "--data", tiny_data});
    CHECK(evaluated.exit_code == 0);
    CHECK(std::abs(accuracy_in(evaluated.out) - metrics_of(teacher_run())[0]["test_top1"].get<double>()) <= 0.51);

    small.resize(64 << 20);
    const Outcome resumed = run_mlkd(train_arguments(run, {"--resume"}));
    REQUIRE_MESSAGE(resumed.exit_code == 0, resumed.err);
    CHECK(difference(run, teacher_run()) == "");
}

TEST_CASE("full disk: a run that cannot even begin says so") {
    const TemporaryFolder folder;
    SmallDisk small(folder / "disk", 4096);
    if (!small.mounted()) return;
    const Outcome outcome = run_mlkd(train_arguments(folder / "disk/run"));
    CHECK(outcome.exit_code == 1);
    CHECK_MESSAGE(is_one_line(outcome.err), outcome.err);
    CHECK(outcome.err.find("No space left on device") != std::string::npos);
}

TEST_CASE("full disk: a line of metrics is written whole or not at all") {
    const TemporaryFolder folder;
    const std::string disk = folder / "disk";
    SmallDisk small(disk, 64 << 10);
    if (!small.mounted()) return;
    const RunFolder run(disk, false, false);
    // The next line begins in the last 96 bytes of a page, the only room that is left when the disk is full.
    const std::string lines = std::string(3999, '1') + "\n";
    write_bytes(disk + "/metrics.jsonl", lines);
    try {
        write_bytes(disk + "/filler", std::string(1 << 20, 'x'));
        FAIL("the disk is not full");
    } catch (const std::runtime_error&) {
    }
    const nlohmann::ordered_json line{{"epoch", 7}, {"text", std::string(300, 'y')}};
    CHECK_THROWS_AS(run.append_metrics(line), Error);
    CHECK(read_bytes(disk + "/metrics.jsonl") == lines);
    fs::remove(disk + "/filler");
    run.append_metrics(line);
    CHECK(read_bytes(disk + "/metrics.jsonl") == lines + line.dump() + "\n");
}
