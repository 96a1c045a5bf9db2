#pragma once
// Networks and training runs in safetensors files. A weights file holds a network under PyTorch's names, shapes and
// order; a full checkpoint adds, under "optimizer." and "progress.", what a run needs to continue bit for bit, each number by its
// name. Both are written whole or not at all. Metadata has the format's number, 2; files of format 1, which have none, are read, too.
#include <array>
#include <memory>
#include <string>
#include <vector>

#include "engine/optimizers/optimizer.h"
#include "layers/network.h"
#include "losses/meters/meter.h"

namespace mlkd {

// Where a run stands.
struct Progress {
    std::int64_t epoch = 1;       // the epoch that comes next or is under way, from 1
    std::int64_t next_batch = 0;  // of that epoch
    double best_top1 = -1;        // percent
    std::int64_t best_epoch = 0;
    double last_top1 = -1;
    std::vector<std::string> parts;  // of the losses: their names
    LossMeter::Reading losses;       // of the epoch under way, finite
    std::array<double, 3> counts{};  // likewise: see AccuracyCounter
    double seconds = 0;              // likewise: wall time spent on it before an interruption
    double waited_for_data = 0;      // likewise: seconds of it
};

// What is written beside the tensors, for people and for checks.
struct CheckpointInfo {
    std::string model;
    int classes = 0;
    std::string dataset;
    std::int64_t train_images = 0;
    std::string dataset_crc;  // content_crc() of the training images, 8 hexadecimal digits; earlier versions wrote none
    std::string config_hash;
    std::int64_t epoch = 0;   // finished epochs
    double top1 = -1;         // percent on the test set after that epoch
    int threads = 0;
    std::string precision;    // fp32, tf32 or bf16, in which the run computed
    std::string settings;     // JSON: those of the configuration that determine numbers, see numeric_settings(); absent in old files
    std::string teacher;      // weights_digest() of the teacher; empty without one
    std::string warnings;     // of resumptions that changed how the run is computed; empty: alike throughout
};

void save_weights(const std::string& path, const Network& network, const CheckpointInfo& info);
void save_checkpoint(const std::string& path, const Network& network, const OptimizerState& optimizer, const CheckpointInfo& info,
                     const Progress& progress);

// 16 hexadecimal digits of a network's parameters and statistics: tells weights whatever file they are in.
std::string weights_digest(const Network& network);

// The name of a tensor (parameter, statistic or what the optimizer remembers) that holds an infinity or no number; empty when
// all are finite.
std::string non_finite_tensor(const Network& network, const OptimizerState& optimizer);

// Reads what any checkpoint says of itself; metadata that a foreign file lacks stays at its default.
CheckpointInfo checkpoint_info(const SafetensorsFile& file);
// Whether a run on the data `now` continues one on the data `saved`. Without a checksum the names decide.
bool same_data(const CheckpointInfo& saved, const CheckpointInfo& now);
// Whether two names must mean different data. Files without a checksum called an IDX set by its folder: any name of one may mean any.
bool other_data(const CheckpointInfo& saved, const std::string& dataset);

// Sets a network's parameters and statistics from a weights file or a full checkpoint. Errors name `path`; what is not
// finite is refused with ExitCode::non_finite.
void load_weights(Network& network, const SafetensorsFile& file, const std::string& path);
// The network that a checkpoint holds: model and classes come from its metadata, or from `model` where it is not empty.
// `info`, where it is given, is set to what the file says of itself.
std::unique_ptr<Network> load_network(Backend& backend, const std::string& path, const std::string& model, Role role,
                                      DType precision = DType::f32, CheckpointInfo* info = nullptr);
// Where the run of a full checkpoint stands; nothing else is looked at.
Progress checkpoint_progress(const SafetensorsFile& file, const std::string& path, const std::vector<std::string>& parts = {});
// Sets network, the optimizer's memory and progress from a full checkpoint.
// parts: of the losses that the run adds up.
Progress load_checkpoint(Network& network, const OptimizerState& optimizer, const std::vector<std::string>& parts,
                         const SafetensorsFile& file, const std::string& path);

}  // namespace mlkd
