#include "apps/bench_peak.h"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <limits>

#include "apps/bench_case.h"
#include "engine/elementwise.h"

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

}  // namespace

MachinePeaks measure_peaks(Backend& backend) {
    MachinePeaks peaks;
    const bool wide = __builtin_cpu_supports("avx512f") != 0;
    peaks.vectors = wide ? "AVX-512" : "AVX2";
    // All threads at once, each the best of its own short pieces: another program that takes a core for a while does not count.
    constexpr std::int64_t rounds = 100'000;  // some four hundred microseconds
    const int threads = backend.threads();
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
    peaks.flop_per_second = rate;

    constexpr std::int64_t elements = std::int64_t{32} << 20;  // 128 MiB an array
    BenchTensors tensors(backend);
    const Tensor sum = tensors.zeros({elements}), addend = tensors.zeros({elements});
    double least = std::numeric_limits<double>::infinity();
    for (int run = 0; run < 20; ++run) least = std::min(least, seconds_of([&] { add_to(backend.stream(), sum, addend); }));
    peaks.bytes_per_second = 3.0 * static_cast<double>(sum.bytes()) / least;
    return peaks;
}

}  // namespace mlkd
