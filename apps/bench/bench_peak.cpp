#include "apps/bench/bench_peak.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "apps/bench/bench_case.h"
#include "engine/kernels/elementwise.h"

namespace mlkd {
namespace {

// Chains enough to hide a latency of four or five cycles on two units, few enough to stay in registers.
constexpr int chains = 12;

template <int lanes> constexpr double flop_per_round = 2.0 * chains * lanes;

// The chains converge to 1, so no value becomes denormal or infinite; their sum is returned so that they are computed.
__attribute__((target("avx512f"))) float fma_chains_512(std::int64_t rounds) {
    __m512 chain[chains];
    for (int c = 0; c < chains; ++c) chain[c] = _mm512_set1_ps(static_cast<float>(c));
    const __m512 half = _mm512_set1_ps(0.5f);
    for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
        for (int c = 0; c < chains; ++c) chain[c] = _mm512_fmadd_ps(chain[c], half, half);
    __m512 sum = _mm512_setzero_ps();
    for (const __m512& value : chain) sum = _mm512_add_ps(sum, value);
    return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) float fma_chains_256(std::int64_t rounds) {
    __m256 chain[chains];
    for (int c = 0; c < chains; ++c) chain[c] = _mm256_set1_ps(static_cast<float>(c));
    const __m256 half = _mm256_set1_ps(0.5f);
    for (std::int64_t round = 0; round < rounds; ++round)
#pragma GCC unroll 12
        for (int c = 0; c < chains; ++c) chain[c] = _mm256_fmadd_ps(chain[c], half, half);
    __m256 sum = _mm256_setzero_ps();
    for (const __m256& value : chain) sum = _mm256_add_ps(sum, value);
    return _mm256_cvtss_f32(sum);
}

double seconds_of(const auto& work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// All threads at once, each the best of its own short pieces: another program that takes a core for a while does not count.
double flop_per_second_of_host(int threads, bool wide) {
    constexpr std::int64_t rounds = 100'000;  // some four hundred microseconds
    float sink = 0;
    double rate = 0;
#pragma omp parallel for reduction(+ : sink, rate) schedule(static, 1)
    for (int thread = 0; thread < threads; ++thread) {
        double least = std::numeric_limits<double>::infinity();
        for (int piece = 0; piece < 400; ++piece)
            least = std::min(least, seconds_of([&] { sink += wide ? fma_chains_512(rounds) : fma_chains_256(rounds); }));
        rate += static_cast<double>(rounds) * (wide ? flop_per_round<16> : flop_per_round<8>) / least;
    }
    MLKD_CHECK(sink > 0, "bench: the multiply-adds were not computed");
    return rate;
}

// The quickest of several runs of `work`, each until the device is done; the first ones settle plans.
double least_seconds(Backend& backend, const auto& work) {
    double least = std::numeric_limits<double>::infinity();
    for (int run = 0; run < 20; ++run)
        least = std::min(least, seconds_of([&] {
                             work();
                             backend.synchronize();
                         }));
    return least;
}

// A convolution that is bound by nothing but multiplications.
double flop_per_second_of_gpu(Backend& backend, DType precision) {
    BenchTensors tensors(backend);
    constexpr std::int64_t images = 1024, side = 16, channels = 256;
    const Tensor x = tensors.uniform({images, side, side, channels}, -1, 1, precision);
    const Tensor w = tensors.uniform({channels, 3, 3, channels}, -1, 1, precision);
    const Tensor y = tensors.zeros(x.shape, precision);
    const double seconds = least_seconds(backend, [&] { backend.convolution_forward(y, x, w, Convolution{}); });
    return 2.0 * images * side * side * channels * 9 * channels / seconds;
}

}  // namespace

MachinePeaks measure_peaks(Backend& backend, DType precision) {
    MachinePeaks peaks;
    if (backend.stream().device == DeviceKind::cuda) {
        peaks.source = "a convolution";
        peaks.flop_per_second = flop_per_second_of_gpu(backend, precision);
    } else {
        const bool wide = __builtin_cpu_supports("avx512f") != 0;
        peaks.source = wide ? "AVX-512" : "AVX2";
        peaks.flop_per_second = flop_per_second_of_host(backend.threads(), wide);
    }
    constexpr std::int64_t elements = std::int64_t{32} << 20;  // 128 MiB an array
    BenchTensors tensors(backend);
    const Tensor sum = tensors.zeros({elements}), addend = tensors.zeros({elements});
    peaks.bytes_per_second = 3.0 * static_cast<double>(sum.bytes()) / least_seconds(backend, [&] { add_to(backend.stream(), sum, addend); });
    return peaks;
}

}  // namespace mlkd
