#pragma once
// Figures 1 and 2 of the paper's supplement: how far the correlation matrices of each student's predictions are from the
// teacher's, as heat maps of one batch, and as means over the whole test set.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mlkd {

struct StudentLogits {
    std::string label;
    std::span<const float> logits;  // (N, C)
};

struct FigureOptions {
    std::string folder;  // created where it is missing
    double temperature = 4;
    std::int64_t batch = 64;
    std::vector<std::string> class_names;  // (C) or empty; along the axes where they are few
    std::string gnuplot = "gnuplot";
};

struct Distance {
    double batch_mean = 0, batch_max = 0;  // of the first batch: the one that is drawn
    double mean = 0;                       // over all batches, see mean_distance()
};

struct StudentDistance {
    std::string label;
    Distance input, category;
};

struct FigureReport {
    std::vector<StudentDistance> students;
    std::vector<std::string> files;  // names in the folder
    bool drawn = false;
    std::string advice;  // how to draw, where gnuplot is missing
};

// What is known before a network runs. Throws UsageError for options and labels without sense (a label is one line of at most 36
// printable characters, its own), Error for a folder that cannot be made or written into. Makes nothing.
void check_figures(const std::vector<std::string>& labels, const FigureOptions& options);

// teacher (N, C): logits of the whole test set in order. Writes figure1_input_correlation and figure2_category_correlation
// (.gp, .png, .svg), the matrices of teacher, students and distances (.npy) and figures.json. Everything but the drawings is
// written first. Throws as check_figures() does, and Error where logits do not fit or are not finite, for fewer than two images or
// classes, where a file cannot be written, or gnuplot fails; no gnuplot is no failure.
FigureReport write_figures(std::span<const float> teacher, std::int64_t classes, const std::vector<StudentLogits>& students,
                           const FigureOptions& options);

// Whether write_figures() may write a file of this name.
bool is_figure_file(const std::string& name);

// The means as lines for people.
std::string figure_table(const FigureReport& report);

}  // namespace mlkd
