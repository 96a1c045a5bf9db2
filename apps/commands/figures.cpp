#include "apps/figures.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "apps/checkpoint.h"
#include "apps/commands/commands.h"
#include "apps/evaluation.h"
#include "apps/input_guard.h"
#include "apps/signals.h"
#include "data/load.h"

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
void protect_inputs(const std::string& folder, const std::string& teacher,
                    const std::vector<std::pair<std::string, std::string>>& students) {
    std::vector<std::string> inputs{teacher};
    for (const auto& [label, file] : students) inputs.push_back(file);
    std::error_code absent;
    for (const auto& entry : std::filesystem::directory_iterator(folder, absent))
        if (is_figure_file(entry.path().filename().string())) refuse_to_replace_input(entry.path().string(), inputs);
}

void run_figures(const FigureArguments& arguments) {
    std::vector<std::pair<std::string, std::string>> named;
    for (const std::string& student : arguments.students) named.push_back(label_and_file(student));
    protect_inputs(arguments.options.folder, arguments.teacher, named);
    const auto backend = make_backend(arguments.device);
    const Dataset data = load_dataset(arguments.data, Split::test);
    StepArena arena(*backend);
    const auto logits_of = [&](const std::string& file) {
        const auto network = load_network(*backend, file, "", Role::frozen, network_type(arguments.device.precision));
        require_same_classes(*network, data, file);
        return evaluate_logits(*backend, arena, *network, data, arguments.options.batch);
    };
    const std::vector<float> teacher = logits_of(arguments.teacher);
    std::vector<std::vector<float>> logits;
    for (const auto& [label, file] : named) logits.push_back(logits_of(file));
    std::vector<StudentLogits> students;
    for (std::size_t i = 0; i < named.size(); ++i) students.push_back({named[i].first, logits[i]});
    FigureOptions options = arguments.options;
    options.class_names = data.class_names;
    const SignalWatch watch(OnSignal::note);  // while files are half written
    const FigureReport report = write_figures(teacher, data.classes, students, options);
    fmt::print("{}", figure_table(report));
    fmt::print("{} files in {}\n", report.files.size(), options.folder);
    if (!report.drawn) fmt::print("{}\n", report.advice);
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
    command->footer("Example:\n  mlkd figures --teacher teacher.safetensors --student KD=kd.safetensors --student MLKD=mlkd.safetensors "
                    "--data cifar-100-binary --out figures");
    command->callback([arguments] {
        const SignalWatch watch(OnSignal::end);
        run_figures(*arguments);
    });
}

}  // namespace mlkd
