#pragma once
// The one place where the text of the program differs between a host compiler and nvcc.
// Together with launch.h (the only <<<>>>) it is the seam; no other file asks which compiler reads it.

#ifdef __CUDACC__
#define MLKD_HD __host__ __device__
#else
#define MLKD_HD
#endif
