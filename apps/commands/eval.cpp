#include <fmt/format.h>

#include <memory>

#include "apps/commands/commands.h"
#include "apps/evaluate/evaluation.h"
#include "apps/output.h"
#include "apps/signals.h"
#include "apps/train/checkpoint.h"
#include "data/readers/load.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

struct EvalArguments {
    std::string checkpoint, model, data;
    std::int64_t batch_size = 64;
    DeviceOptions device;
};

void run_eval(const EvalArguments& arguments) {
    const auto backend = make_backend(arguments.device);
    CheckpointInfo info;
    const auto network = load_network(*backend, arguments.checkpoint, arguments.model, Role::frozen,
                                      network_type(arguments.device.precision), &info);
    const Dataset data = load_dataset(arguments.data, Split::test);
    require_same_classes(*network, data, arguments.checkpoint);
    warn_of_other_data(info, data, arguments.checkpoint);
    StepArena arena(*backend);
    const Evaluation result = evaluate(*backend, arena, *network, data, arguments.batch_size);
    require_finite(result, data, arguments.checkpoint);
    print("{} ({}) on {}: loss {:.4f} over {} images\n", shown(arguments.checkpoint), network->name(), data.name, result.loss, result.images);
    print(" * Acc@1 {:.3f} Acc@5 {:.3f}\n", result.top1, result.top5);
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
    command->footer("Example:\n  mlkd eval --checkpoint output/cifar100/kd_resnet32x4_resnet8x4/student_best.safetensors --data cifar-100-binary");
    command->callback([arguments] {
        const SignalWatch watch(OnSignal::end);
        run_eval(*arguments);
    });
}

}  // namespace mlkd
