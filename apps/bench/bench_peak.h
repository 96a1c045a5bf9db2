#pragma once
// What this machine reaches at most, measured: the denominators of the benchmarks' shares.
#include <string>

#include "engine/backend.h"

namespace mlkd {

struct MachinePeaks {
    double flop_per_second = 0;   // f32 multiply-adds in registers, two FLOP each, all threads; on a GPU of a large convolution
    double bytes_per_second = 0;  // sum += addend on arrays far larger than any cache, three transfers an element
    std::string source;           // "AVX-512": where the first comes from
};

// The best of several short runs each, half a second in all. precision: of the convolution on a GPU, f32 or bf16.
MachinePeaks measure_peaks(Backend& backend, DType precision);

}  // namespace mlkd
