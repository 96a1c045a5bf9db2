#include <fmt/format.h>

#include <memory>

#include "apps/checkpoint.h"
#include "apps/commands/commands.h"
#include "apps/evaluation.h"
#include "apps/signals.h"
#include "data/load.h"

namespace mlkd {
namespace {

struct EvalArguments {
    std::string checkpoint, model, data;
    std::int64_t batch_size = 64;
    DeviceOptions device;
};

void run_eval(const EvalArguments& arguments) {
    const auto backend = make_backend(arguments.device);
    const Dataset data = load_dataset(arguments.data, Split::test);
    const auto network = load_network(*backend, arguments.checkpoint, arguments.model, Role::frozen,
                                      network_type(arguments.device.precision));
    require_same_classes(*network, data, arguments.checkpoint);
    StepArena arena(*backend);
    const Evaluation result = evaluate(*backend, arena, *network, data, arguments.batch_size);
    fmt::print("{} ({}) on {}: loss {:.4f} over {} images\n", arguments.checkpoint, network->name(), data.name, result.loss, result.images);
    fmt::print(" * Acc@1 {:.3f} Acc@5 {:.3f}\n", result.top1, result.top5);
}

}  // namespace

void add_eval_command(CLI::App& app, ExitCode&) {
    auto arguments = std::make_shared<EvalArguments>();
    CLI::App* command = app.add_subcommand("eval", "Top-1, top-5 and loss of a checkpoint on a test set");
    command->add_option("-c,--checkpoint", arguments->checkpoint, "weights or full checkpoint (.safetensors)")->required();
    command->add_option("-d,--data", arguments->data, "the data's folder, or synthetic")->required();
    command->add_option("-m,--model", arguments->model, "the network's name, where the file does not say it");
    command->add_option("--batch-size", arguments->batch_size, "images at once")->capture_default_str()->check(CLI::Range(1, 65536));
    add_device_options(*command, arguments->device);
    command->footer("Example:\n  mlkd eval --checkpoint output/distill/kd/student_best.safetensors --data cifar-100-binary");
    command->callback([arguments] {
        const SignalWatch watch(OnSignal::end);
        run_eval(*arguments);
    });
}

}  // namespace mlkd
