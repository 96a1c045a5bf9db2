#include "apps/evaluate/recorded_work.h"

#include <utility>

namespace mlkd {

RecordedWork::RecordedWork(Backend& backend, bool use_graph, std::function<void(std::int64_t size)> enqueue)
    : backend_(backend), use_graph_(use_graph), enqueue_(std::move(enqueue)) {}

void RecordedWork::run(std::int64_t size) {
    Kind& kind = kinds_[size];
    if (use_graph_ && kind.settled && kind.recording == nullptr) {
        kind.recording = backend_.record([&] { enqueue_(size); });
        use_graph_ = kind.recording != nullptr;
    }
    if (kind.recording != nullptr)
        kind.recording->replay();
    else
        enqueue_(size);
    kind.settled = true;
}

const Recording* RecordedWork::recording(std::int64_t size) const {
    const auto found = kinds_.find(size);
    return found == kinds_.end() ? nullptr : found->second.recording.get();
}

}  // namespace mlkd
