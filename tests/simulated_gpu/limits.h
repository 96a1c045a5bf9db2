#pragma once
// Limits of a block on an H100 SXM, from public specifications.

namespace mlkd::simulated {

inline constexpr int threads_of_a_block = 1024;
inline constexpr int shared_memory = 48 << 10;           // bytes, without asking
inline constexpr int shared_memory_at_most = 227 << 10;  // static and dynamic together
inline constexpr long long blocks_of_a_grid = 2147483647;

}  // namespace mlkd::simulated
