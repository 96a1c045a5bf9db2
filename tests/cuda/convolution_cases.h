#pragma once
// Convolutions that a GPU's tests run: channels that no tensor core's tile divides, uneven images, both strides.
#include <vector>

#include "engine/backend.h"

namespace mlkd::test {

struct ConvolutionCase {
    Shape x, w;  // (N, H, W, C), (K, R, S, C)
    Convolution convolution;
};

inline const std::vector<ConvolutionCase> convolution_cases{{{1, 5, 7, 3}, {5, 3, 3, 3}, {1, 1}},     {{2, 9, 7, 16}, {33, 3, 3, 16}, {2, 1}},
                                                            {{2, 8, 8, 16}, {32, 3, 3, 16}, {2, 1}},  {{2, 8, 6, 17}, {9, 1, 1, 17}, {2, 0}},
                                                            {{5, 8, 8, 64}, {64, 3, 3, 64}, {1, 1}},  {{3, 11, 13, 48}, {32, 3, 3, 48}, {1, 1}},
                                                            {{4, 32, 32, 3}, {32, 3, 3, 3}, {1, 1}}};

}  // namespace mlkd::test
