#pragma once
// Work on batches that is recorded where the device can. Batches of some size run launch by launch the first time, which settles
// plans and memory; the second time they are recorded, and from then on they are one launch of the recording.
#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "engine/backend.h"

namespace mlkd {

class RecordedWork {
public:
    // enqueue(size) enqueues the work on a batch of `size`; nothing in it may depend on the host but the size. use_graph: whether
    // it is recorded, where the device can.
    RecordedWork(Backend& backend, bool use_graph, std::function<void(std::int64_t size)> enqueue);

    // Returns as soon as it is enqueued.
    void run(std::int64_t size);
    // The recording for batches of `size`, or nullptr while there is none.
    const Recording* recording(std::int64_t size) const;

private:
    struct Kind {
        bool settled = false;
        std::unique_ptr<Recording> recording;
    };
    Backend& backend_;
    bool use_graph_;
    std::function<void(std::int64_t size)> enqueue_;
    std::map<std::int64_t, Kind> kinds_;
};

}  // namespace mlkd
