// An evaluation whose batches are recorded gives the bits of one that is launched piece by piece, as often as it is repeated, while
// the network goes on learning.
#include <doctest/doctest.h>

#include <vector>

#include "apps/evaluate/evaluation.h"
#include "data/feeds/resident_feed.h"
#include "data/readers/load.h"
#include "tests/support/recording_backend.h"

using namespace mlkd;
using test::RecordingBackend;

namespace {

constexpr int classes = 10;
constexpr std::int64_t images = 19, batch = 4;  // the last batch is smaller: a recording of its own

struct Seen {
    std::vector<Evaluation> results;
    std::vector<float> logits;
    bool recorded;
};

Seen evaluated_three_times(bool use_graph, int teams, int team_size) {
    RecordingBackend backend(teams, team_size);
    StepArena arena(backend, 1 << 20);
    const Dataset dataset = make_synthetic(images, classes, Split::test);
    const auto network = make_network(backend, "resnet8", {classes, Role::trained});
    ResidentFeed feed(backend, dataset, {.batch_size = batch, .views = 1, .seed = 0, .shuffle = false, .augment = false}, DType::f32);
    Evaluator evaluator(backend, arena, *network, feed, use_graph);
    Seen seen{};
    for (const std::uint64_t weights : {1, 2, 1}) {
        network->parameters().initialise(weights);
        seen.results.push_back(evaluator.run([&](const Tensor& logits) {
            const float* const values = logits.as<float>();
            seen.logits.insert(seen.logits.end(), values, values + logits.elements());
        }));
    }
    seen.recorded = evaluator.recording(batch) != nullptr && evaluator.recording(images % batch) != nullptr;
    return seen;
}

}  // namespace

TEST_CASE("recorded evaluation: replays give the bits of batches that are launched piece by piece") {
    for (const int team_size : {0, 3}) {  // the forms of a CPU's kernels, and those of a GPU's
        CAPTURE(team_size);
        const int teams = team_size == 0 ? 0 : 2;
        const Seen replayed = evaluated_three_times(true, teams, team_size), launched = evaluated_three_times(false, teams, team_size);
        CHECK(replayed.recorded);
        CHECK_FALSE(launched.recorded);
        CHECK(replayed.logits == launched.logits);
        REQUIRE(replayed.results.size() == 3);
        for (std::size_t i = 0; i < 3; ++i) {
            CHECK(replayed.results[i].images == images);
            CHECK(replayed.results[i].loss == launched.results[i].loss);
            CHECK(replayed.results[i].top1 == launched.results[i].top1);
            CHECK(replayed.results[i].top5 == launched.results[i].top5);
        }
        // The weights of the moment count, and nothing of an evaluation before.
        CHECK(replayed.results[0].loss != replayed.results[1].loss);
        CHECK(replayed.results[0].loss == replayed.results[2].loss);
        CHECK(replayed.logits.size() == 3 * images * classes);
    }
}
