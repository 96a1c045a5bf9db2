#pragma once
// A whole run: train or distil, evaluate after each epoch, log, save, resume.
#include <memory>
#include <optional>
#include <string>

#include "apps/checkpoint.h"
#include "apps/config.h"
#include "apps/evaluation.h"
#include "apps/progress_line.h"
#include "apps/run_folder.h"
#include "apps/signals.h"
#include "apps/training_step.h"
#include "data/loader.h"

namespace mlkd {

struct TrainOptions {
    bool resume = false;
    bool overwrite = false;
};

class Trainer {
public:
    // Loads data and teacher, builds the student, and takes up the run where its folder's last checkpoint stands if so
    // asked. Prints what it works with.
    Trainer(Config config, const TrainOptions& options);

    // Trains to the last epoch. ExitCode::interrupted or terminated after a signal (the run is saved), else done.
    // Throws Error with ExitCode::non_finite at a loss that is not finite; the checkpoints stay those of before.
    ExitCode run();

private:
    enum class EpochEnd { finished, stopped };

    void load_teacher();
    void resume();
    EpochEnd train_epoch();
    void finish_epoch();
    void save_progress();
    // Throw where a number is not finite.
    void check_losses(const LossMeter::Reading& reading) const;
    void check_parameters() const;
    [[noreturn]] void fail_non_finite(const std::string& what, std::int64_t step) const;
    ExitCode exit_code() const;
    void show_progress(std::int64_t batch, double seconds);
    void print_summary() const;
    CheckpointInfo info(std::int64_t finished_epochs) const;
    std::int64_t images_per_epoch() const { return train_data_.size(); }

    Config config_;
    RunFolder folder_;
    std::unique_ptr<Backend> backend_;
    Dataset train_data_, test_data_;
    StepArena arena_;
    PersistentArena memory_;
    std::unique_ptr<Network> student_, teacher_;
    std::optional<TrainingStep> step_;
    std::optional<Loader> loader_;
    LossMeter meter_;
    Tensor images_, target_;  // (V·batch_size, 32, 32, 3), (batch_size): the step's input
    Tensor loaded_;           // images_, or f32 images to be rounded to them
    Progress progress_;
    ProgressLine line_;
    SignalWatch signals_;
};

}  // namespace mlkd
