#pragma once
// The gnuplot script of a figure: heat maps side by side under one colour scale.
#include <cstdint>
#include <string>
#include <vector>

namespace mlkd {

struct Panel {
    std::string label;
    std::string file;  // .npy with the (size, size) matrix, beside the script
    double mean = 0;
};

struct Figure {
    std::string name;   // of the script and its outputs, without extension
    std::string title;  // one line over all panels
    std::string axis;   // label of both axes
    std::string scale;  // label of the colour bar, where a_b and a^b are raised and lowered
    std::int64_t size = 0;
    double largest = 0;  // of all panels: the end of the colour scale
    std::vector<std::string> ticks;  // names along the axes; empty: numbers
    std::vector<Panel> panels;
};

// Draws NAME.png and NAME.svg, run in the folder of the data as `gnuplot NAME.gp`.
std::string gnuplot_script(const Figure& figure);

}  // namespace mlkd
