#pragma once
// A whole run: train or distil, evaluate after each epoch, log, save, resume.
#include <memory>
#include <optional>
#include <string>

#include "apps/config/config.h"
#include "apps/evaluate/evaluation.h"
#include "apps/train/checkpoint.h"
#include "apps/train/epoch_report.h"
#include "apps/train/progress_line.h"
#include "apps/train/run_folder.h"
#include "apps/train/step_runner.h"

namespace mlkd {

struct TrainOptions {
    bool resume = false;
    bool overwrite = false;
    bool trace_step = false;  // print the first step's operations one by one
    std::string config_file;  // where the configuration came from; may be empty
};

class Trainer {
public:
    // Loads data and teacher, builds the student, and takes up the run where its folder's last checkpoint stands if so
    // asked. Prints what it works with.
    Trainer(Config config, const TrainOptions& options);

    // Trains to the last epoch. After a signal the run is saved, and the exit code is the signal's.
    // Throws Error with ExitCode::non_finite at a loss that is not finite; the checkpoints stay those of before.
    ExitCode run();

private:
    void check_teacher();
    void resume();
    // Throws UsageError where the checkpoint `saved` is not one of this run; says what has changed.
    void check_same_run(const CheckpointInfo& saved, const Progress& progress);
    // Trains what is left of the epoch and saves it. Throws Stopped, when that is done, after a signal.
    void train_epoch();
    // Evaluates and writes the epoch's results. Throws Stopped where a signal ends the evaluation.
    void finish_epoch();
    void save_progress();
    // Throw where a number is not finite.
    void check_losses(const LossMeter::Reading& reading) const;
    void check_parameters() const;
    [[noreturn]] void fail_non_finite(const std::string& what, std::int64_t step) const;
    void run_traced(std::int64_t size);
    void show_graph(std::int64_t size);
    void print_summary() const;
    EpochTraining training();  // of the epoch under way
    CheckpointInfo info(std::int64_t finished_epochs) const;

    Config config_;
    RunFolder folder_;
    std::unique_ptr<Backend> backend_;
    CheckpointInfo teacher_info_;
    std::unique_ptr<Network> teacher_;
    Dataset test_data_, train_data_;  // the smaller one is read first: what is wrong with the data shows sooner
    std::string data_crc_;  // of the training images
    StepArena arena_;
    PersistentArena memory_;
    std::unique_ptr<Network> student_;
    std::string teacher_digest_;
    std::unique_ptr<BatchFeed> train_feed_, test_feed_;
    std::optional<TrainingStep> step_;
    std::optional<LossMeter> meter_;
    std::optional<StepRunner> runner_;
    std::optional<Evaluator> evaluator_;
    bool trace_step_;
    bool graph_shown_ = false;
    std::string warnings_;  // of all resumptions
    Progress progress_;
    ProgressLine line_;
};

}  // namespace mlkd
