#include "apps/figures/figures.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/config/file_name.h"
#include "apps/config/lower_case.h"
#include "apps/figures/correlation.h"
#include "apps/figures/figure_script.h"
#include "apps/figures/gnuplot.h"
#include "apps/figures/npy.h"
#include "apps/signals.h"
#include "apps/train/folder_lock.h"
#include "apps/train/repeat_command.h"
#include "engine/error.h"
#include "engine/files/atomic_file.h"
#include "engine/text/shown_text.h"

namespace mlkd {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t named_ticks = 20;  // beyond that names along an axis cannot be read

void check_logits(const std::string& who, std::span<const float> logits, std::size_t expected, std::int64_t classes) {
    if (logits.size() != expected)
        throw Error(fmt::format("figures: {} has {} logits, the teacher {}: they must come from the same images and classes", who,
                                logits.size(), expected));
    const auto bad = std::find_if(logits.begin(), logits.end(), [](float x) { return !std::isfinite(x); });
    if (bad != logits.end())
        throw Error(fmt::format("figures: the logits of {} are not finite at image {}", who, (bad - logits.begin()) / classes),
                    ExitCode::non_finite);
}

void check_label(const std::string& label) {
    constexpr std::ptrdiff_t longest = 36;  // characters that fit over a panel
    if (label.empty()) throw UsageError("figures: a student without a label; name it as LABEL=FILE");
    std::string plain = label;
    std::ranges::replace(plain, '\\', '/');  // shown() doubles it, but it can be drawn
    if (shown(plain) != plain)
        throw UsageError(fmt::format("figures: the label {} cannot be drawn: it must be UTF-8 without control characters", in_quotes(label)));
    const auto characters = std::ranges::count_if(label, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; });
    if (characters > longest)
        throw UsageError(fmt::format("figures: the label {} has {} characters; at most {} fit", in_quotes(label), characters, longest));
}

void check_folder(const std::string& folder) {
    if (folder.empty()) throw UsageError("figures: the folder's name is empty; name one with --out");
    const auto fail = [&](const std::string& reason) {
        throw Error(fmt::format("{}: cannot create the folder of the figures: {}", folder, reason));
    };
    // The nearest folder that is there already.
    fs::path there = folder;
    std::error_code code;
    while (fs::status(there, code).type() == fs::file_type::not_found) there = there.has_parent_path() ? there.parent_path() : ".";
    if (code) fail(code.message());
    if (!fs::is_directory(there, code)) fail(there == fs::path(folder) ? "it is a file" : "Not a directory");
    try {
        require_writable((there / "figures.json").string());
    } catch (const Error& error) {
        fail(error.what());
    }
}

void check_input(std::span<const float> teacher, std::int64_t classes, const std::vector<StudentLogits>& students,
                 const FigureOptions& options) {
    std::vector<std::string> labels;
    for (const StudentLogits& student : students) labels.push_back(student.label);
    check_figures(labels, options);
    if (classes < 2 || teacher.empty() || static_cast<std::int64_t>(teacher.size()) % classes != 0)
        throw Error(fmt::format("figures: {} logits of the teacher are no whole rows of {} classes", teacher.size(), classes));
    if (static_cast<std::int64_t>(teacher.size()) < 2 * classes)
        throw Error("figures: one image has no correlation with others; use a test set of at least 2");
    check_logits("the teacher", teacher, teacher.size(), classes);
    for (const StudentLogits& student : students) check_logits("student \"" + student.label + "\"", student.logits, teacher.size(), classes);
}

// Parts of file names, one for each label: those of the teacher (NAME_teacher.npy) and of all students (NAME_part.npy and
// NAME_part_distance.npy) differ, also where a file system takes capitals and small letters for the same.
std::vector<std::string> name_parts(const std::vector<StudentLogits>& students) {
    std::vector<std::string> parts;
    std::set<std::string> taken = {"teacher"};
    for (const StudentLogits& student : students) {
        const std::string base = file_name_of(student.label);
        std::string part = base;
        for (int number = 2; taken.contains(lower_case(part)) || taken.contains(lower_case(part) + "_distance"); ++number)
            part = fmt::format("{}_{}", base, number);
        taken.insert({lower_case(part), lower_case(part) + "_distance"});
        parts.push_back(part);
    }
    return parts;
}

struct FigureKind {
    Correlation correlation;
    const char* name;
    const char* title;
    const char* axis;
    const char* scale;
    Distance StudentDistance::* distance;
};
constexpr FigureKind kinds[] = {
    {Correlation::input, "figure1_input_correlation", "Input correlation: distance to the teacher", "image of the batch",
     "|P_sP_s^T − P_tP_t^T|", &StudentDistance::input},
    {Correlation::category, "figure2_category_correlation", "Category correlation: distance to the teacher", "class",
     "|P_s^TP_s − P_t^TP_t|", &StudentDistance::category}};

// gnuplot's SVG holds each heat map as a small picture, one pixel a cell, which viewers blur unless told otherwise.
void sharpen(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    if (!in) throw Error(path + ": cannot read what gnuplot has drawn");
    const std::string from = "<image ", to = "<image style='image-rendering: pixelated' ";
    for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) text.replace(at, from.size(), to);
    write_file_atomically(path, text);
}

class FigureWriter {
public:
    FigureWriter(std::span<const float> teacher, std::int64_t classes, const std::vector<StudentLogits>& students,
                 const FigureOptions& options)
        : teacher_(teacher), classes_(classes), students_(students), options_(options), parts_(name_parts(students)) {
        for (const StudentLogits& student : students) report_.students.push_back({student.label, {}, {}});
    }

    FigureReport run() {
        for (const FigureKind& kind : kinds) write_data(kind);
        write_summary();
        for (const FigureKind& kind : kinds) {
            stop_if_signalled();
            draw(kind);
        }
        return std::move(report_);
    }

private:
    std::string path(const std::string& name) const { return options_.folder + "/" + name; }

    Matrix of_first_batch(Correlation kind, std::span<const float> logits) const {
        const std::size_t count = std::min(logits.size(), static_cast<std::size_t>(options_.batch * classes_));
        return correlation(kind, softmax_rows(logits.first(count), classes_, options_.temperature));
    }

    void write_matrix(const std::string& name, const Matrix& matrix) {
        stop_if_signalled();
        write_npy(path(name), matrix.values, matrix.rows, matrix.columns);
        report_.files.push_back(name);
    }

    void write_data(const FigureKind& kind) {
        Figure figure{kind.name, "", kind.axis, kind.scale, 0, 0, {}, {}};
        const Matrix teacher = of_first_batch(kind.correlation, teacher_);
        figure.size = teacher.rows;
        figure.title = fmt::format("{} (T = {:g})", kind.title, options_.temperature);
        if (kind.correlation == Correlation::category && options_.class_names.size() == static_cast<std::size_t>(classes_) &&
            options_.class_names.size() <= named_ticks)
            for (const std::string& name : options_.class_names) figure.ticks.push_back(shown(name));
        write_matrix(fmt::format("{}_teacher.npy", kind.name), teacher);
        for (std::size_t i = 0; i < students_.size(); ++i) {
            const Matrix student = of_first_batch(kind.correlation, students_[i].logits);
            const Matrix difference = absolute_difference(student, teacher);
            Distance& distance = report_.students[i].*kind.distance;
            distance.batch_mean = mean(difference);
            distance.batch_max = maximum(difference);
            distance.mean = mean_distance(kind.correlation, students_[i].logits, teacher_, classes_, options_.batch, options_.temperature);
            const std::string file = fmt::format("{}_{}_distance.npy", kind.name, parts_[i]);
            write_matrix(fmt::format("{}_{}.npy", kind.name, parts_[i]), student);
            write_matrix(file, difference);
            figure.largest = std::max(figure.largest, distance.batch_max);
            figure.panels.push_back({students_[i].label, file, distance.batch_mean});
        }
        // A scale needs an extent, even where students equal the teacher.
        if (!(figure.largest > 0)) figure.largest = 1e-12;
        write_file_atomically(path(std::string(kind.name) + ".gp"), gnuplot_script(figure));
        report_.files.push_back(std::string(kind.name) + ".gp");
    }

    void write_summary() {
        const std::int64_t images = static_cast<std::int64_t>(teacher_.size()) / classes_;
        nlohmann::ordered_json root = {{"temperature", options_.temperature},
                                       {"batch", options_.batch},
                                       {"images", images},
                                       {"classes", classes_},
                                       {"batches", (images + options_.batch - 1) / options_.batch},
                                       {"mean", "over the batches, of the mean absolute entry of student's minus teacher's matrix"}};
        for (std::size_t i = 0; i < students_.size(); ++i) {
            const StudentDistance& student = report_.students[i];
            const auto numbers = [](const Distance& d) {
                return nlohmann::ordered_json{{"mean", d.mean}, {"first_batch_mean", d.batch_mean}, {"first_batch_max", d.batch_max}};
            };
            root["students"].push_back({{"label", student.label},
                                        {"files", parts_[i]},
                                        {"input_correlation", numbers(student.input)},
                                        {"category_correlation", numbers(student.category)}});
        }
        write_file_atomically(path("figures.json"), root.dump(2) + "\n");
        report_.files.push_back("figures.json");
    }

    void draw(const FigureKind& kind) {
        constexpr const char* suffix = ".part";
        const std::string script = std::string(kind.name) + ".gp";
        const auto remove_parts = [&] {
            for (const char* extension : {".png", ".svg"}) std::remove(path(kind.name + std::string(extension) + suffix).c_str());
        };
        remove_parts();  // gnuplot would write through a link of that name
        try {
            if (run_gnuplot(options_.gnuplot, options_.folder, script, suffix) == Drawn::no_gnuplot) {
                report_.advice = fmt::format("{} is not installed; to draw the figures later: cd {} && gnuplot figure*.gp",
                                             options_.gnuplot, shown(shell_word(options_.folder)));
                return;
            }
        } catch (...) {
            remove_parts();
            throw;
        }
        sharpen(path(std::string(kind.name) + ".svg" + suffix));
        for (const char* extension : {".png", ".svg"}) {
            const std::string name = kind.name + std::string(extension);
            std::error_code code;
            fs::rename(path(name + suffix), path(name), code);
            if (code) throw Error(fmt::format("{}: cannot write: {}", path(name), code.message()));
            report_.files.push_back(name);
        }
        report_.drawn = true;
    }

    std::span<const float> teacher_;
    std::int64_t classes_;
    const std::vector<StudentLogits>& students_;
    const FigureOptions& options_;
    std::vector<std::string> parts_;
    FigureReport report_;
};

}  // namespace

void check_figures(const std::vector<std::string>& labels, const FigureOptions& options) {
    if (!(options.temperature > 0) || !std::isfinite(options.temperature))
        throw UsageError(fmt::format("figures: temperature {} is not greater than 0", options.temperature));
    if (options.batch < 1) throw UsageError(fmt::format("figures: a batch of {} images", options.batch));
    if (labels.empty()) throw UsageError("figures: no student; name at least one as LABEL=FILE");
    std::set<std::string> taken;
    for (const std::string& label : labels) {
        check_label(label);
        if (!taken.insert(label).second) throw UsageError("figures: two students are labelled \"" + label + "\"");
    }
    check_folder(options.folder);
}

FigureReport write_figures(std::span<const float> teacher, std::int64_t classes, const std::vector<StudentLogits>& students,
                           const FigureOptions& options) {
    check_input(teacher, classes, students, options);
    std::error_code code;
    fs::create_directories(options.folder, code);
    if (code || !fs::is_directory(options.folder))
        throw Error(fmt::format("{}: cannot create the folder of the figures: {}", options.folder, code ? code.message() : "it is a file"));
    const FolderLock lock(options.folder);
    return FigureWriter(teacher, classes, students, options).run();
}

bool is_figure_file(const std::string& name) {
    if (name == "figures.json") return true;
    return std::any_of(std::begin(kinds), std::end(kinds), [&](const FigureKind& kind) { return name.starts_with(kind.name); });
}

std::string figure_table(const FigureReport& report) {
    std::size_t width = 7;
    for (const StudentDistance& student : report.students) width = std::max(width, student.label.size());
    std::string out = fmt::format("{:<{}}  input correlation  category correlation\n", "student", width);
    for (const StudentDistance& student : report.students)
        out += fmt::format("{:<{}}  {:>17.4e}  {:>20.4e}\n", student.label, width, student.input.mean, student.category.mean);
    return out;
}

}  // namespace mlkd
