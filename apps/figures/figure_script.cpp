#include "apps/figures/figure_script.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "apps/figures/npy.h"

namespace mlkd {
namespace {

// Pixels of the PNG at scale 1; the script draws it at twice that.
struct Layout {
    int columns, rows, width, height;
    static constexpr int side = 300, left = 84, gap = 26, right = 140, top = 100, bottom = 78, row_gap = 118;

    // tick_room: what names along the axes need more than numbers do.
    Layout(int panels, int tick_room)
        : columns(std::min(panels, 4)), rows((panels + columns - 1) / columns), left_(left + tick_room), row_gap_(row_gap + tick_room) {
        width = left_ + columns * side + (columns - 1) * gap + right;
        height = top + rows * side + (rows - 1) * row_gap_ + bottom + tick_room;
    }
    double x(int column) const { return static_cast<double>(left_ + column * (side + gap)) / width; }
    double y(int row) const { return 1 - static_cast<double>(top + row * (side + row_gap_) + side) / height; }
    double panel_width() const { return static_cast<double>(side) / width; }
    double panel_height() const { return static_cast<double>(side) / height; }
    double colour_bar_x() const { return x(columns - 1) + panel_width() + 18.0 / width; }

private:
    int left_, row_gap_;
};

// In single quotes nothing is special to gnuplot but the quote itself.
std::string text(const std::string& value) {
    std::string out = "'";
    for (const char c : value) out += c == '\'' ? "''" : std::string(1, c);
    return out + "'";
}

std::string tick_list(const Figure& figure) {
    std::string out;
    const auto add = [&](const std::string& name, std::int64_t at) {
        out += fmt::format("{}{} {}", out.empty() ? "" : ", ", text(name), at);
    };
    if (!figure.ticks.empty()) {
        for (std::size_t i = 0; i < figure.ticks.size(); ++i) add(figure.ticks[i], static_cast<std::int64_t>(i));
        return out;
    }
    std::int64_t step = 1;
    for (std::int64_t factor = 1; figure.size / step > 8; factor *= 10)
        for (const std::int64_t digit : {1, 2, 5})
            if (figure.size / step > 8) step = digit * factor;
    for (std::int64_t at = 0; at < figure.size; at += step) add(std::to_string(at), at);
    return out;
}

// Values 1, 2 and 5 times powers of ten along the colour bar, not too close to each other on its square-root scale.
std::string colour_ticks(double largest) {
    std::string out = "0";
    double last = 0;
    const int top = static_cast<int>(std::floor(std::log10(largest)));
    for (int exponent = top - 3; exponent <= top; ++exponent) {
        for (const int digit : {1, 2, 5}) {
            const double value = digit * std::pow(10.0, exponent);
            const double position = std::sqrt(value / largest);
            if (position > 1 || position - last < 0.09) continue;
            out += fmt::format(", {:.6g}", value);
            last = position;
        }
    }
    return out;
}

// Means under one power of ten for all panels, so that they can be compared at a glance: "1.47·10^{-3}".
std::vector<std::string> mean_texts(const std::vector<Panel>& panels) {
    double largest = 0;
    for (const Panel& panel : panels) largest = std::max(largest, panel.mean);
    const int exponent = largest > 0 ? static_cast<int>(std::floor(std::log10(largest))) : 0;
    const std::string power = exponent == 0 ? "" : fmt::format("·10^{{{}}}", exponent);
    std::vector<std::string> out;
    for (const Panel& panel : panels) out.push_back(fmt::format("mean {:.2f}{}", panel.mean / std::pow(10.0, exponent), power));
    return out;
}

std::string panel_commands(const Figure& figure, const Layout& layout, int index, const std::string& mean) {
    const Panel& panel = figure.panels[static_cast<std::size_t>(index)];
    const int column = index % layout.columns, row = index / layout.columns;
    const bool lowest = index + layout.columns >= static_cast<int>(figure.panels.size());
    std::string out = fmt::format("    set lmargin at screen {:.5f}; set rmargin at screen {:.5f}\n", layout.x(column),
                                  layout.x(column) + layout.panel_width());
    out += fmt::format("    set bmargin at screen {:.5f}; set tmargin at screen {:.5f}\n", layout.y(row),
                       layout.y(row) + layout.panel_height());
    out += fmt::format("    set label 1 {} at graph 0.5, 1.125 center noenhanced font ',15'\n", text(panel.label));
    out += fmt::format("    set label 2 {} at graph 0.5, 1.045 center font ',12'\n", text(mean));
    out += column == 0 ? fmt::format("    set ylabel {} noenhanced\n    set ytics ({}) out nomirror noenhanced\n", text(figure.axis),
                                     tick_list(figure))
                       : "    unset ylabel\n    unset ytics\n";
    out += lowest ? fmt::format("    set xlabel {} noenhanced\n", text(figure.axis)) : "    unset xlabel\n";
    if (index == 0)
        out += fmt::format("    set colorbox user origin screen {:.5f}, {:.5f} size screen {:.5f}, {:.5f}\n", layout.colour_bar_x(),
                           layout.y(0), 16.0 / layout.width, layout.panel_height());
    else
        out += "    unset colorbox\n";
    out += fmt::format("    plot {} binary skip=bytes array=(n, n) format='%double' endian=little with image notitle\n", text(panel.file));
    return out;
}

}  // namespace

std::string gnuplot_script(const Figure& figure) {
    const int panels = static_cast<int>(figure.panels.size());
    std::size_t longest = 0;
    for (const std::string& tick : figure.ticks) longest = std::max(longest, tick.size());
    const Layout layout(panels, static_cast<int>(std::min<std::size_t>(longest, 16)) * 7);

    std::string out = fmt::format("# {}\n# Draws {}.png and {}.svg from the matrices beside it: gnuplot {}.gp\n", figure.title, figure.name,
                                  figure.name, figure.name);
    out += "if (!exists('suffix')) suffix = ''\n";
    out += "set encoding utf8\nset decimalsign '.'\n";
    out += fmt::format("n = {}          # the matrices are (n, n)\n", figure.size);
    out += fmt::format("bytes = {}    # of a .npy file's header\n", npy_data_offset);
    out += fmt::format("largest = {:.6g}  # of all panels: the end of the one colour scale\n", figure.largest);
    out += fmt::format("width = {}; height = {}\n\n", layout.width, layout.height);
    // Perceptually uniform, also in grey: matplotlib's inferno in eleven steps.
    out += "set palette defined (0 '#000004', 1 '#160b39', 2 '#420a68', 3 '#6a176e', 4 '#932667', 5 '#bc3754', \\\n"
           "                     6 '#dd513a', 7 '#f37819', 8 '#fca50a', 9 '#f6d746', 10 '#fcffa4')\n";
    out += "set cbrange [0:largest]\n";
    // A few entries, most of them on the diagonal, are far larger than the others, which a linear scale would leave black.
    out += "set nonlinear cb via (z < 0 ? 0 : sqrt(z)) inverse z * z  # unset for a linear scale\n";
    out += fmt::format("set cbtics ({}) out nomirror\nset format cb '%g'\n", colour_ticks(figure.largest));
    out += fmt::format("set cblabel {}\n", text(figure.scale));
    out += "set xrange [-0.5:n - 0.5]\nset yrange [n - 0.5:-0.5]  # the first row on top\n";
    out += fmt::format("set xtics ({}) out nomirror noenhanced{}\n", tick_list(figure), figure.ticks.empty() ? "" : " rotate by 90 right");
    out += "set border lw 0.75\nunset key\n\n";
    out += "do for [pass = 1:2] {\n";
    out += "    if (pass == 1) {\n";
    out += "        set terminal pngcairo size 2 * width, 2 * height background rgb 'white' font 'sans,12' fontscale 2 linewidth 2\n";
    out += fmt::format("        set output '{}.png'.suffix\n", figure.name);
    out += "    } else {\n";
    out += "        set terminal svg size width, height dynamic background rgb 'white' font 'sans,12'\n";
    out += fmt::format("        set output '{}.svg'.suffix\n", figure.name);
    out += "    }\n";
    out += "    set multiplot\n";
    out += fmt::format("    set label 3 {} at screen 0.5, {:.5f} center noenhanced font ',{}'\n", text(figure.title),
                       1 - 26.0 / layout.height, panels == 1 ? 13 : 16);
    const std::vector<std::string> means = mean_texts(figure.panels);
    for (int index = 0; index < panels; ++index) {
        out += panel_commands(figure, layout, index, means[static_cast<std::size_t>(index)]);
        if (index == 0) out += "    unset label 3\n";
    }
    out += "    unset multiplot\n    unset label\n    unset output\n}\n";
    return out;
}

}  // namespace mlkd
