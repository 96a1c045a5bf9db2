#include "apps/figures/figures.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "apps/commands/commands.h"
#include "apps/evaluate/evaluation.h"
#include "apps/figures/gnuplot.h"
#include "apps/output.h"
#include "apps/signals.h"
#include "apps/train/checkpoint.h"
#include "apps/train/input_guard.h"
#include "data/readers/load.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

struct FigureArguments {
    std::string teacher, data;
    std::vector<std::string> students;  // LABEL=FILE
    FigureOptions options;
    DeviceOptions device;
};

std::pair<std::string, std::string> label_and_file(const std::string& student) {
    const std::size_t split = student.find('=');
    if (split == std::string::npos || split == 0 || split + 1 == student.size())
        throw UsageError(fmt::format("--student {}: write LABEL=FILE, e.g. --student KD=output/kd/student_best.safetensors", student));
    return {student.substr(0, split), student.substr(split + 1)};
}

// The folder may hold figures of before, but none of the files that are read now.
void protect_inputs(const std::string& folder, const std::vector<std::string>& inputs) {
    std::error_code absent;
    for (const auto& entry : std::filesystem::directory_iterator(folder, absent))
        if (is_figure_file(entry.path().filename().string())) refuse_to_replace_input(entry.path().string(), inputs);
}

void run_figures(const FigureArguments& arguments) {
    FigureOptions options = arguments.options;
    std::vector<std::string> labels, files{arguments.teacher};
    for (const std::string& student : arguments.students) {
        const auto [label, file] = label_and_file(student);
        labels.push_back(label);
        files.push_back(file);
    }
    check_figures(labels, options);
    protect_inputs(options.folder, files);
    const auto backend = make_backend(arguments.device);
    // All that can be wrong is found before the first network runs.
    std::vector<std::unique_ptr<Network>> networks;
    std::vector<CheckpointInfo> infos(files.size());
    for (const std::string& file : files) {
        networks.push_back(load_network(*backend, file, "", Role::frozen, network_type(arguments.device.precision), &infos[networks.size()]));
        if (networks.back()->classes() != networks.front()->classes())
            throw Error(fmt::format("{}: has {} classes, but the teacher {} has {}: compare networks of the same data", file,
                                    networks.back()->classes(), files.front(), networks.front()->classes()));
    }
    const Dataset data = load_dataset(arguments.data, Split::test);
    require_same_classes(*networks.front(), data, files.front());
    for (std::size_t i = 0; i < files.size(); ++i) warn_of_other_data(infos[i], data, files[i]);
    if (!is_installed(options.gnuplot)) print("{} is not installed: matrices and scripts are written, but not drawn\n", options.gnuplot);

    StepArena arena(*backend);
    std::vector<std::vector<float>> logits;
    for (std::size_t i = 0; i < files.size(); ++i)
        logits.push_back(evaluate_logits(*backend, arena, *networks[i], data, options.batch, files[i]));
    std::vector<StudentLogits> students;
    for (std::size_t i = 0; i < labels.size(); ++i) students.push_back({labels[i], logits[i + 1]});
    options.class_names = data.class_names;
    const SignalWatch watch(OnSignal::note);  // while files are half written
    const FigureReport report = write_figures(logits.front(), data.classes, students, options);
    print("{}", figure_table(report));
    print("{} files in {}\n", report.files.size(), shown(options.folder));
    if (!report.drawn) print("{}\n", report.advice);
}

}  // namespace

void add_figures_command(CLI::App& app, ExitCode&) {
    auto arguments = std::make_shared<FigureArguments>();
    CLI::App* command = app.add_subcommand("figures", "Draw the distance of each student's correlation matrices to the teacher's");
    command->add_option("--teacher", arguments->teacher, "the teacher's checkpoint")->required();
    command->add_option("--student", arguments->students, "LABEL=FILE, once for each student")->required();
    command->add_option("-d,--data", arguments->data, "the data's folder, or synthetic")->required();
    command->add_option("--out", arguments->options.folder, "folder for figures and matrices")->required();
    command->add_option("--temperature", arguments->options.temperature, "of the softmax")->capture_default_str();
    add_device_options(*command, arguments->device);
    command->footer(
        "Example:\n"
        "  mlkd figures --teacher output/cifar100/vanilla_resnet32x4/student_best.safetensors "
        "--student KD=output/cifar100/kd_resnet32x4_resnet8x4/student_best.safetensors "
        "--student MLKD=output/cifar100/mlkd_official_240_resnet32x4_resnet8x4/student_best.safetensors --data cifar-100-binary --out figures");
    command->callback([arguments] {
        const SignalWatch watch(OnSignal::end);
        run_figures(*arguments);
    });
}

}  // namespace mlkd
