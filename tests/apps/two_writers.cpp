// No command destroys another one's output or its own input: locks, names, links.
#include <doctest/doctest.h>

#include <atomic>
#include <map>
#include <set>

#include "apps/figures/figures.h"
#include "apps/train/folder_lock.h"
#include "apps/train/run_folder.h"
#include "engine/error.h"
#include "tests/apps/tiny_runs.h"

using namespace mlkd;
using namespace mlkd::test;

namespace {

namespace fs = std::filesystem;

// All files of a folder with their bytes.
std::map<std::string, std::string> contents(const std::string& folder) {
    std::map<std::string, std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(folder))
        if (entry.is_regular_file()) all[entry.path().string()] = read_bytes(entry.path().string());
    return all;
}

void check_refused(const Arguments& arguments, const std::vector<std::string>& texts) {
    const Outcome outcome = run_mlkd(arguments);
    CHECK((outcome.exit_code == 1 || outcome.exit_code == 2));
    CHECK_MESSAGE(is_one_line(outcome.err), outcome.err);
    for (const std::string& text : texts) CHECK_MESSAGE(outcome.err.find(text) != std::string::npos, outcome.err, " lacks ", text);
}

}  // namespace

TEST_CASE("two writers: a folder that a run writes into is locked, and the refusal says by whom") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    Process first(command(train_arguments(run, {"solver.epochs=100000"})));
    REQUIRE(first.wait_until([&] { return fs::exists(run + "/last.safetensors"); }));
    const std::string id = read_bytes(run + "/mlkd.lock");
    CHECK(id.find(" on ") != std::string::npos);
    CHECK(id.find(" since 20") != std::string::npos);
    fs::create_symlink(run, folder / "link");
    for (const Arguments& more : {Arguments{}, Arguments{"--overwrite"}, Arguments{"--resume"}})
        for (const std::string& name : {run, folder / "link"})
            check_refused(train_arguments(name, more), {name + "/mlkd.lock", id.substr(0, id.size() - 1)});
    check_refused({"figures", "--device", "cpu", "--teacher", teacher_run() + "/student_best.safetensors", "--student",
                   "a=" + teacher_run() + "/student_best.safetensors", "--data", "synthetic:30:4", "--out", run},
                  {"mlkd.lock"});
    first.send(SIGTERM);
    CHECK(first.wait().exit_code == 143);
    CHECK(!fs::exists(run + "/mlkd.lock"));

    // A kill leaves the file, but not the lock.
    Process killed(command(train_arguments(run, {"--overwrite", "solver.epochs=100000"})));
    REQUIRE(killed.wait_for_output("\nrun "));
    killed.send(SIGKILL);
    killed.wait();
    CHECK(fs::exists(run + "/mlkd.lock"));
    CHECK(run_mlkd(train_arguments(run, {"--overwrite", "solver.epochs=1"})).exit_code == 0);
}

TEST_CASE("two writers: of many that start at once, one at a time holds a folder's lock") {
    const TemporaryFolder folder;
    std::atomic<int> holders = 0, most = 0, acquired = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            for (int attempt = 0; attempt < 200; ++attempt) {
                try {
                    const FolderLock lock(folder.path());
                    const int now = ++holders;
                    if (now > most) most = now;
                    ++acquired;
                    std::this_thread::yield();
                    --holders;
                } catch (const Error&) {
                }
            }
        });
    for (std::thread& thread : threads) thread.join();
    CHECK(most == 1);
    CHECK(acquired > 0);
    CHECK(folder.entries() == 0);
}

TEST_CASE("two writers: a run never replaces its teacher, whatever that is called") {
    const TemporaryFolder folder;
    const std::string run = folder / "run";
    fs::copy(teacher_run(), run);
    fs::create_directories(folder / "elsewhere");
    const std::string teacher = run + "/student_best.safetensors";
    fs::create_symlink(teacher, folder / "symbolic.safetensors");
    fs::create_hard_link(teacher, folder / "hard.safetensors");
    fs::create_symlink(run, folder / "link");
    const auto before = contents(folder.path());
    for (const std::string& name :
         {teacher, folder / "symbolic.safetensors", folder / "hard.safetensors", folder / "link/student_best.safetensors",
          folder / "elsewhere/../run/student_best.safetensors", run + "/best.safetensors"})
        for (const std::string& output : {run, folder / "link", run + "/"})
            check_refused(distil_arguments(output, "kd", {"--overwrite", "distiller.teacher_checkpoint=" + name}), {name, "input"});
    CHECK(contents(folder.path()) == before);

    // Without --overwrite, too: what is no whole run any more may still be a teacher.
    for (const char* gone : {"last.safetensors", "metrics.jsonl", "best.safetensors", "student_last.safetensors"})
        fs::remove(run + "/" + gone);
    check_refused(distil_arguments(run, "kd", {"distiller.teacher_checkpoint=" + teacher}), {teacher, "input"});
    // Weights that are nobody's teacher are not deleted unasked either.
    check_refused(train_arguments(run), {run, "--overwrite"});
    CHECK(read_bytes(teacher) == read_bytes(folder / "hard.safetensors"));
    // Under another name it can stay where it is.
    fs::rename(teacher, run + "/teacher.safetensors");
    CHECK(run_mlkd(distil_arguments(run, "kd", {"solver.epochs=1", "distiller.teacher_checkpoint=" + run + "/teacher.safetensors"}))
              .exit_code == 0);
    CHECK(read_bytes(run + "/teacher.safetensors") == read_bytes(folder / "hard.safetensors"));
}

TEST_CASE("two writers: a configuration with comments is not replaced by the resolved one, that of a run may be given again") {
    const TemporaryFolder folder;
    const std::string run = folder / "run", config = run + "/config.json";
    fs::create_directories(run);
    write_bytes(config, "{\"solver\": {\"epochs\": 1},  // my notes\n \"distiller\": {\"student\": \"resnet8\"}}\n");
    Arguments arguments = train_arguments(run, {"--config", config, "solver.epochs=1"});
    const std::string before = read_bytes(config);
    check_refused(arguments, {config, "input"});
    CHECK(read_bytes(config) == before);
    fs::remove(config);
    REQUIRE(run_mlkd(train_arguments(run, {"solver.epochs=1"})).exit_code == 0);
    arguments.push_back("--overwrite");
    CHECK(run_mlkd(arguments).exit_code == 0);
}

TEST_CASE("two writers: figures and bench replace neither their inputs nor strangers' files") {
    const TemporaryFolder folder;
    const std::string out = folder / "out", checkpoint = out + "/figures.json";
    fs::create_directories(out);
    fs::copy_file(teacher_run() + "/student_best.safetensors", checkpoint);
    fs::create_hard_link(checkpoint, folder / "hard");
    const auto before = contents(folder.path());
    const auto figures = [&](const std::string& teacher, const std::string& student) {
        return Arguments{"figures",   "--device",     "cpu",    "--threads",      "1",     "--teacher", teacher,
                         "--student", "a=" + student, "--data", "synthetic:30:4", "--out", out};
    };
    const std::string other = teacher_run() + "/student_last.safetensors";
    check_refused(figures(checkpoint, other), {checkpoint});
    check_refused(figures(other, folder / "hard"), {checkpoint});
    CHECK(contents(folder.path()) == before);
    fs::remove(checkpoint);
    CHECK(run_mlkd(figures(other, folder / "hard")).exit_code == 0);
    CHECK(run_mlkd(figures(other, folder / "hard")).exit_code == 0);  // its own files may be replaced

    const auto bench = [](const std::string& json) {
        return Arguments{"bench",      "--device", "cpu",           "--threads", "1",      "--filter", "^loss/mlkd/64x100$",
                         "--min-time", "0.001",    "--repetitions", "1",         "--json", json};
    };
    const std::string hard = read_bytes(folder / "hard");
    check_refused(bench(folder / "hard"), {folder / "hard"});
    check_refused(bench(out + "/figures.json"), {"figures.json"});
    CHECK(read_bytes(folder / "hard") == hard);
    write_bytes(folder / "results.json", "");
    CHECK(run_mlkd(bench(folder / "results.json")).exit_code == 0);
    CHECK(run_mlkd(bench(folder / "results.json")).exit_code == 0);
}

TEST_CASE("two writers: figures of any labels have files of their own, whatever the file system takes for the same name") {
    const TemporaryFolder folder;
    const std::vector<std::string> labels = {"KD",         "kd", "k d",     "k_d",     "KD_distance", "kd_Distance",
                                             "x_distance", "x",  "teacher", "Teacher", "KD_2",        "kd/2"};
    std::vector<float> logits(6 * 3);
    std::vector<StudentLogits> students;
    std::vector<std::vector<float>> values;
    for (std::size_t s = 0; s < labels.size(); ++s) {
        for (std::size_t i = 0; i < logits.size(); ++i) logits[i] = static_cast<float>((i * (s + 3)) % 7);
        values.push_back(logits);
    }
    for (std::size_t s = 0; s < labels.size(); ++s) students.push_back({labels[s], values[s]});
    FigureOptions options;
    options.folder = folder / "out";
    options.batch = 4;
    options.gnuplot = "mlkd-no-such-program";
    const FigureReport report = write_figures(values[0], 3, students, options);
    std::set<std::string> names;
    for (std::string name : report.files) {
        for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
        CHECK_MESSAGE(names.insert(name).second, name);
    }
    CHECK(names.size() == 2 * (2 * labels.size() + 2) + 1);
}
