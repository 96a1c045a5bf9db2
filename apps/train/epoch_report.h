#pragma once
// What an epoch has given, as metrics for files, and as lines for people.
#include <array>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "apps/evaluate/evaluation.h"
#include "losses/meters/accuracy.h"
#include "losses/meters/meter.h"

namespace mlkd {

// Training of an epoch, or of its part so far.
struct EpochTraining {
    std::int64_t epoch = 0, epochs = 0;
    double lr = 0;
    std::vector<std::string> parts;  // of the losses, the total last
    LossMeter::Reading losses;
    std::array<double, accuracy_counter_count> counts{};  // see AccuracyCounter
    double seconds = 0, waited_for_data = 0;

    double top1() const { return 100.0 * counts[AccuracyCounter::top1] / losses.samples; }
    double top5() const { return 100.0 * counts[AccuracyCounter::top5] / losses.samples; }
    double images_per_second() const { return losses.samples / seconds; }
    double data_share() const { return waited_for_data / seconds; }
};

// A line of metrics.jsonl.
nlohmann::ordered_json epoch_metrics(const EpochTraining& train, const Evaluation& test, double test_seconds);
// "Epoch   3/240  lr 5.000e-02 …"; better: whether no epoch before had this top-1.
std::string epoch_line(const EpochTraining& train, const Evaluation& test, bool better);
// "Epoch: [3][40/782] eta …", for a terminal; after `batch` of the epoch's `batches`.
std::string progress_text(const EpochTraining& train, std::int64_t batch, std::int64_t batches);

}  // namespace mlkd
