#include "apps/train/trainer.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "apps/config/idle_settings.h"
#include "apps/device.h"
#include "apps/output.h"
#include "apps/report.h"
#include "apps/signals.h"
#include "apps/train/epoch_report.h"
#include "apps/train/repeat_command.h"
#include "apps/train/resume_check.h"
#include "apps/train/step_trace.h"
#include "data/readers/load.h"
#include "engine/error.h"
#include "engine/files/safetensors.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// How often the host looks at the losses on the device.
constexpr std::int64_t steps_between_checks = 10;

// What can be said of a configuration alone, before anything is made or read.
Config checked(Config config) {
    if (config.dataset.path.empty())
        throw UsageError("dataset.path is empty: name the data's folder, e.g. dataset.path=cifar-100-binary, or synthetic");
    if (config.distiller.method->has_teacher() && config.distiller.teacher_checkpoint.empty())
        throw UsageError("distiller.teacher_checkpoint is empty: name the teacher's checkpoint (train one with type none)");
    return config;
}

// Files that the run reads and must not replace. Data sets have names that no run gives.
std::vector<std::string> inputs(const Config& config, const TrainOptions& options) {
    std::vector<std::string> files{options.config_file};
    if (config.distiller.method->has_teacher()) files.push_back(config.distiller.teacher_checkpoint);
    return files;
}

Dataset load_checked(const Config& config, Split split) {
    Dataset dataset = load_dataset(config.dataset.path, split);
    const bool any_idx = config.dataset.type == "idx" && is_idx(dataset.name);
    if (config.dataset.type != "auto" && config.dataset.type != dataset.name && !any_idx)
        throw Error(fmt::format("{}: holds {}, but dataset.type asks for {}", config.dataset.path, dataset.name, config.dataset.type));
    return dataset;
}

// The first `images` of a split; 0: all.
void keep_first(Dataset& data, std::int64_t images, const char* key) {
    if (images > data.size()) print("note      {} {}: no effect, {} has {}\n", key, images, data.name, data.size());
    if (images > 0) data.keep_first(images);
}

// nullptr where none is asked for.
std::unique_ptr<Network> load_teacher(Backend& backend, const Config& config, CheckpointInfo& info) {
    if (!config.distiller.method->has_teacher()) return nullptr;
    return load_network(backend, config.distiller.teacher_checkpoint, config.distiller.teacher, Role::frozen,
                        network_type(config.precision), &info);
}

std::unique_ptr<Backend> make_run_backend(const Config& config, const RunFolder& folder) {
    return make_backend({.device = config.device,
                         .threads = config.threads,
                         .convolution = "auto",
                         .plan_file = folder.plans(),
                         .precision = config.precision,
                         .products = config.products,
                         .nondeterministic = config.nondeterministic,
                         .deterministic = config.deterministic});
}

}  // namespace

Trainer::Trainer(Config config, const TrainOptions& options)
    : config_(checked(std::move(config))),
      folder_(output_folder(config_), options.resume, options.overwrite, inputs(config_, options)),
      backend_(make_run_backend(config_, folder_)),
      teacher_(load_teacher(*backend_, config_, teacher_info_)),
      test_data_(load_checked(config_, Split::test)),
      train_data_(load_checked(config_, Split::train)),
      arena_(*backend_),
      memory_(*backend_),
      trace_step_(options.trace_step) {
    keep_first(train_data_, config_.dataset.train_images, "dataset.train_images");
    keep_first(test_data_, config_.dataset.test.images, "dataset.test.images");
    data_crc_ = fmt::format("{:08x}", content_crc(train_data_));
    if (train_data_.size() == 1)
        print("note      one training image: batch norm takes its statistics over that image alone, and nothing can be learnt of others\n");
    print_environment(*backend_);
    if (backend_->stream().device == DeviceKind::cpu)
        for (const std::string& line : idle_on_cpu(config_)) print("note      {}\n", line);
    print("data      {}: {} training and {} test images, {} classes\n", train_data_.name, train_data_.size(), test_data_.size(),
          train_data_.classes);
    const Method& method = *config_.distiller.method;
    const NetworkOptions of_student{static_cast<int>(train_data_.classes), Role::trained, network_type(config_.precision)};
    student_ = make_network(*backend_, config_.distiller.student, of_student);
    student_->parameters().initialise(config_.solver.seed);
    print("{} {}: {} parameters, {:.1f} MFLOP an image forward\n", method.has_teacher() ? "student  " : "network  ", student_->name(),
          student_->parameters().trainable_elements(), student_->flop_per_image() / 1e6);
    if (teacher_) check_teacher();
    step_.emplace(*backend_, arena_, *student_, teacher_.get(), method, *config_.solver.optimizer, config_.solver.label_smoothing);
    meter_.emplace(*backend_, memory_, static_cast<int>(step_->parts().size()));
    progress_.losses = meter_->read();
    progress_.parts = step_->parts();
    const std::int64_t batch = config_.solver.batch_size;
    train_feed_ = make_feed(*backend_, train_data_,
                            {.batch_size = batch,
                             .views = step_->views(),
                             .seed = config_.solver.seed,
                             .shuffle = true,
                             .augment = true,
                             .workers = config_.dataset.num_workers},
                            student_->precision());
    test_feed_ = make_test_feed(*backend_, *student_, test_data_, config_.dataset.test.batch_size);
    runner_.emplace(*backend_, *train_feed_, *step_, *meter_, config_.graph);
    evaluator_.emplace(*backend_, arena_, *student_, *test_feed_, config_.graph);
    if (options.resume)
        resume();
    else
        folder_.clear();
    folder_.save_config(to_json(config_));
}

void Trainer::check_teacher() {
    const std::string what = "teacher " + config_.distiller.teacher_checkpoint;
    require_same_classes(*teacher_, train_data_, what);
    warn_of_other_data(teacher_info_, train_data_, what);
    teacher_digest_ = weights_digest(*teacher_);
    teacher_->fold();
    const Evaluation accuracy = evaluate(*backend_, arena_, *teacher_, test_data_, config_.dataset.test.batch_size);
    require_finite(accuracy, test_data_, what);
    print("teacher   {}: {} parameters, {:.1f} MFLOP an image, top-1 {:.2f} top-5 {:.2f} on the {} test images\n", teacher_->name(),
          teacher_->parameters().trainable_elements(), teacher_->flop_per_image() / 1e6, accuracy.top1, accuracy.top5, accuracy.images);
}

void Trainer::resume() {
    if (!folder_.has_checkpoint()) {
        print("resume    nothing saved in {} yet: starting at epoch 1\n", shown(folder_.path()));
        folder_.keep_metrics_up_to(0);
        return;
    }
    const SafetensorsFile file = read_safetensors(folder_.last());
    const CheckpointInfo saved = checkpoint_info(file);
    check_same_run(saved, checkpoint_progress(file, folder_.last()));
    progress_ = load_checkpoint(*student_, step_->optimizer(), step_->parts(), file, folder_.last());
    meter_->restore(progress_.losses);
    backend_->copy_from_host(step_->counters().data, progress_.counts.data(), step_->counters().bytes());
    folder_.keep_metrics_up_to(progress_.epoch - 1);
    // From now on config.json is this configuration, which such a checkpoint may need to be told from.
    if (saved.settings.empty()) save_progress();
    if (progress_.epoch > config_.solver.epochs)
        print("resume    all {} epochs are done\n", config_.solver.epochs);
    else
        print("resume    at epoch {}, after {} of its batches\n", progress_.epoch, progress_.next_batch);
}

void Trainer::check_same_run(const CheckpointInfo& saved, const Progress& progress) {
    const CheckpointInfo now = info(0);
    // The configuration does not say where the data lie: they may have been moved, not exchanged.
    if (!same_data(saved, now))
        throw UsageError(fmt::format("{}: was trained on other data ({}, {} images, {} classes) than {}; name those, or start anew",
                                     folder_.last(), saved.dataset, saved.train_images, saved.classes, config_.dataset.path));
    const Config before = config_of_run(saved, folder_.last(), folder_.file("config.json"), config_);
    std::string refused;
    const auto changes = changed_settings(before, config_, progress, !saved.settings.empty());
    for (const SettingChange& change : changes)
        if (!change.allowed) refused += fmt::format("{}{}", refused.empty() ? "" : "; ", change.text());
    if (!refused.empty())
        throw UsageError(
            fmt::format("{}: was made under another configuration: {}; give the old values, or start anew", folder_.last(), refused));
    if (!saved.settings.empty() && saved.teacher != now.teacher)
        throw UsageError(fmt::format("{}: learned from another teacher than {}; name that one's weights, or start anew", folder_.last(),
                                     config_.distiller.teacher_checkpoint));
    for (const SettingChange& change : changes) print("resume    {}\n", shown(change.text()));
    warnings_ = saved.warnings;
    for (const std::string& warning : resume_warnings(saved, now, before, config_, backend_->stream().device)) {
        warnings_ += (warnings_.empty() ? "" : "; ") + warning;
        print("resume    warning: {}: it goes on, but not as it would have\n", shown(warning));
    }
}

CheckpointInfo Trainer::info(std::int64_t finished_epochs) const {
    return {.model = student_->name(),
            .classes = student_->classes(),
            .dataset = train_data_.name,
            .train_images = train_data_.size(),
            .dataset_crc = data_crc_,
            .config_hash = config_hash(config_),
            .epoch = finished_epochs,
            .top1 = progress_.last_top1,
            .threads = backend_->threads(),
            .precision = resolved_precision(config_.precision, *backend_),
            .settings = numeric_settings(config_).dump(),
            .teacher = teacher_digest_,
            .warnings = warnings_};
}

ExitCode Trainer::run() {
    const SignalWatch watch(OnSignal::note);
    print("run       {} epochs of {} batches of {} in {}, output in {}\n", config_.solver.epochs, train_feed_->batches(),
          config_.solver.batch_size, resolved_precision(config_.precision, *backend_), shown(folder_.path()));
    try {
        while (progress_.epoch <= config_.solver.epochs) {
            train_epoch();
            finish_epoch();
        }
    } catch (const Stopped&) {
        print("stopped by a signal at epoch {}, batch {}: saved in {}; continue with --resume\n", progress_.epoch, progress_.next_batch,
              shown(folder_.last()));
    }
    print_summary();
    if (progress_.epoch > config_.solver.epochs) {
        print("repeat    {}\n", shown(repeat_command(config_, *backend_, folder_.path())));
        if (!warnings_.empty())
            print("note      that gives close results, not the same bits: this run was resumed otherwise ({})\n", shown(warnings_));
    }
    // A signal counts while the last epoch's files are written, too: whoever sent it wants no further command of a script to run.
    return noted_signal() == 0 ? ExitCode::done : exit_code_after(noted_signal());
}

void Trainer::train_epoch() {
    const Clock::time_point start = Clock::now();
    const double earlier_seconds = progress_.seconds, earlier_wait = progress_.waited_for_data;
    if (progress_.next_batch == 0) {
        meter_->reset();
        backend_->fill_zero(step_->counters().data, step_->counters().bytes());
    }
    step_->set_learning_rate(learning_rate(config_.solver, static_cast<int>(progress_.epoch)));
    step_->set_epoch(static_cast<int>(progress_.epoch));
    train_feed_->start_epoch(static_cast<std::uint32_t>(progress_.epoch), progress_.next_batch);
    const auto take_time = [&] {
        progress_.seconds = earlier_seconds + seconds_since(start);
        progress_.waited_for_data = earlier_wait + train_feed_->wait_seconds();
    };
    for (;;) {
        // A signal counts before the first batch, too.
        const std::int64_t size = noted_signal() == 0 ? train_feed_->next() : 0;
        if (size == 0) break;
        if (trace_step_)
            run_traced(size);
        else
            runner_->run(size);
        show_graph(size);
        ++progress_.next_batch;
        take_time();
        if (progress_.next_batch % steps_between_checks == 0) {
            check_losses(meter_->read());
            if (line_.visible()) line_.show(progress_text(training(), progress_.next_batch, train_feed_->batches()));
        }
    }
    line_.clear();
    check_losses(meter_->read());
    take_time();  // until the device was done
    save_progress();
    stop_if_signalled();
}

// The epoch's training is saved: a kill loses no more than this evaluation.
void Trainer::finish_epoch() {
    const EpochTraining train = training();
    const Clock::time_point evaluation_start = Clock::now();
    const Evaluation test = evaluator_->run();
    if (!std::isfinite(test.loss)) fail_non_finite("the test loss", progress_.next_batch);
    const nlohmann::ordered_json metrics = epoch_metrics(train, test, seconds_since(evaluation_start));

    progress_.last_top1 = test.top1;
    const bool better = test.top1 > progress_.best_top1;
    if (better) {
        progress_.best_top1 = test.top1;
        progress_.best_epoch = train.epoch;
    }
    progress_.epoch = train.epoch + 1;
    progress_.next_batch = 0;
    progress_.seconds = progress_.waited_for_data = 0;
    meter_->reset();  // the next epoch has no sums yet
    progress_.losses = meter_->read();
    progress_.counts = {};
    folder_.append_metrics(metrics);
    const CheckpointInfo described = info(train.epoch);
    if (better) {
        save_weights(folder_.student_best(), *student_, described);
        save_checkpoint(folder_.best(), *student_, step_->optimizer(), described, progress_);
    }
    if (config_.log.save_checkpoint_freq > 0 && train.epoch % config_.log.save_checkpoint_freq == 0)
        save_weights(folder_.file(fmt::format("student_{}.safetensors", train.epoch)), *student_, described);
    save_weights(folder_.student_last(), *student_, described);
    save_checkpoint(folder_.last(), *student_, step_->optimizer(), described, progress_);

    print("{}\n", epoch_line(train, test, better));
}

EpochTraining Trainer::training() {
    EpochTraining now{.epoch = progress_.epoch,
                      .epochs = config_.solver.epochs,
                      .lr = learning_rate(config_.solver, static_cast<int>(progress_.epoch)),
                      .parts = step_->parts(),
                      .losses = meter_->read(),
                      .counts = {},
                      .seconds = progress_.seconds,
                      .waited_for_data = progress_.waited_for_data};
    backend_->copy_to_host(now.counts.data(), step_->counters().data, step_->counters().bytes());
    return now;
}

void Trainer::save_progress() {
    check_parameters();
    progress_.losses = meter_->read();
    backend_->copy_to_host(progress_.counts.data(), step_->counters().data, step_->counters().bytes());
    CheckpointInfo described = info(progress_.epoch - 1);
    if (progress_.next_batch > 0) described.top1 = -1;  // these weights have not been tested
    save_checkpoint(folder_.last(), *student_, step_->optimizer(), described, progress_);
}

void Trainer::check_losses(const LossMeter::Reading& reading) const {
    if (reading.bad_step < 0) return;
    fail_non_finite(fmt::format("loss part '{}'", step_->parts()[static_cast<std::size_t>(reading.bad_part)]),
                    static_cast<std::int64_t>(reading.bad_step) + 1);
}

// The loss of a step is taken before its update: a network may be broken although every loss was finite.
void Trainer::check_parameters() const {
    if (const std::string broken = non_finite_tensor(*student_, step_->optimizer()); !broken.empty())
        fail_non_finite(fmt::format("'{}'", broken), progress_.next_batch);
}

void Trainer::fail_non_finite(const std::string& what, std::int64_t step) const {
    const std::string kept = folder_.has_checkpoint() ? fmt::format("the last good checkpoint is {}", folder_.last())
                                                      : std::string("no epoch was finished, so nothing is saved");
    throw Error(fmt::format("{} is not finite in epoch {}, step {}; lower solver.lr or raise the temperatures; {}", what, progress_.epoch,
                            step, kept),
                ExitCode::non_finite);
}

// The first step of a run is never a recording: its operations can be watched one by one.
void Trainer::run_traced(std::int64_t size) {
    trace_step_ = false;
    StepTrace trace(*backend_, *student_, teacher_.get());
    runner_->run(size);
    const std::string table = trace.table();
    line_.clear();
    print_text(table);
}

void Trainer::show_graph(std::int64_t size) {
    const Recording* recording = runner_->recording(size);
    if (graph_shown_ || recording == nullptr) return;
    graph_shown_ = true;
    line_.clear();
    print("graph     a step of {} is one launch of {} kernels and {} memory operations\n", size, recording->kernels(), recording->others());
}

void Trainer::print_summary() const {
    if (progress_.best_epoch == 0) return;
    print("Best accuracy: {:.2f} (epoch {}), last {:.2f}\n", progress_.best_top1, progress_.best_epoch, progress_.last_top1);
}

}  // namespace mlkd
