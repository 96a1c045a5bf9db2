#pragma once
// The folder of a run: checkpoints, the resolved configuration, the metrics, the convolution plans.
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/train/folder_lock.h"

namespace mlkd {

class RunFolder {
public:
    // Makes the folder and locks it for as long as this lives. Throws Error when it cannot be written, another run writes
    // there, or it holds a run already and neither `resume` nor `overwrite` is given; UsageError when one of the files that
    // the run would replace is among its `inputs`. Removes what a killed process left half written; an old run's files stay.
    RunFolder(const std::string& path, bool resume, bool overwrite, const std::vector<std::string>& inputs = {});

    const std::string& path() const { return path_; }
    std::string file(const std::string& name) const { return path_ + "/" + name; }
    std::string last() const { return file("last.safetensors"); }
    std::string best() const { return file("best.safetensors"); }
    std::string student_last() const { return file("student_last.safetensors"); }
    std::string student_best() const { return file("student_best.safetensors"); }
    std::string plans() const { return file("convolution_plans.json"); }
    bool has_checkpoint() const;

    // Removes the files of an old run. Its convolution plans stay: they belong to the machine.
    void clear() const;

    void save_config(const nlohmann::ordered_json& config) const;
    // Appends one line to metrics.jsonl, whole or not at all, and makes sure that it is on the disk.
    void append_metrics(const nlohmann::ordered_json& line) const;
    // Drops the lines of epochs after `epoch`, and a torn last line: they will be written again.
    void keep_metrics_up_to(std::int64_t epoch) const;

private:
    // The folders that this run made. Those that it leaves empty go again: a run that failed before it wrote.
    class MadeFolders {
    public:
        explicit MadeFolders(const std::string& path);  // makes `path` and what is missing above it
        ~MadeFolders();
        MadeFolders(const MadeFolders&) = delete;
        MadeFolders& operator=(const MadeFolders&) = delete;

    private:
        std::vector<std::string> made_;  // innermost first
    };

    void protect(const std::vector<std::string>& inputs) const;

    std::string path_;
    MadeFolders made_;
    FolderLock lock_;
};

}  // namespace mlkd
