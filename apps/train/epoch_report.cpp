#include "apps/train/epoch_report.h"

#include <fmt/format.h>

#include "apps/train/progress_line.h"

namespace mlkd {
namespace {

// " ce 1.2345 batch 0.5432": the parts that are not 0.
std::string parts_text(const EpochTraining& train, int decimals) {
    std::string text;
    for (std::size_t part = 0; part + 1 < train.parts.size(); ++part)
        if (const double sum = train.losses.sums[part]; sum != 0)
            text += fmt::format(" {} {:.{}f}", train.parts[part], sum / train.losses.samples, decimals);
    return text;
}

double total_loss(const EpochTraining& train) { return train.losses.sums.back() / train.losses.samples; }

}  // namespace

nlohmann::ordered_json epoch_metrics(const EpochTraining& train, const Evaluation& test, double test_seconds) {
    nlohmann::ordered_json metrics{{"epoch", train.epoch}, {"lr", train.lr}};
    for (std::size_t part = 0; part < train.parts.size(); ++part)
        metrics["loss_" + train.parts[part]] = train.losses.sums[part] / train.losses.samples;
    metrics["train_top1"] = train.top1();
    metrics["train_top5"] = train.top5();
    metrics["test_top1"] = test.top1;
    metrics["test_top5"] = test.top5;
    metrics["test_loss"] = test.loss;
    metrics["train_seconds"] = train.seconds;
    metrics["test_seconds"] = test_seconds;
    metrics["data_share"] = train.data_share();
    metrics["images_per_second"] = train.images_per_second();
    return metrics;
}

std::string epoch_line(const EpochTraining& train, const Evaluation& test, bool better) {
    const std::string parts = parts_text(train, 4);
    return fmt::format(
        "Epoch {:>3}/{}  lr {:.3e}  loss {:.4f} ({}) train top1 {:.2f} | test top1 {:.2f} top5 {:.2f} loss {:.4f} | "
        "{:.1f} s, {:.0f} img/s, data {:.0f}%{}",
        train.epoch, train.epochs, train.lr, total_loss(train), parts.empty() ? parts : parts.substr(1), train.top1(), test.top1, test.top5,
        test.loss, train.seconds, train.images_per_second(), 100 * train.data_share(), better ? "  *best" : "");
}

std::string progress_text(const EpochTraining& train, std::int64_t batch, std::int64_t batches) {
    const double per_batch = train.seconds / static_cast<double>(batch);
    const auto batches_left = static_cast<double>(batches - batch + (train.epochs - train.epoch) * batches);
    return fmt::format("Epoch: [{}][{}/{}] eta {} lr {:.3e} loss {:.3f}{} top1 {:.2f} {:.0f} img/s data {:.0f}%", train.epoch, batch,
                       batches, clock_text(per_batch * batches_left), train.lr, total_loss(train), parts_text(train, 3), train.top1(),
                       train.images_per_second(), 100 * train.data_share());
}

}  // namespace mlkd
