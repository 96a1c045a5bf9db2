#pragma once
// Every image of this program is 32 × 32 RGB, bytes (32, 32, 3): the colours of a pixel lie side by side.

namespace mlkd {

inline constexpr int image_side = 32;
inline constexpr int image_channels = 3;
inline constexpr int image_pixels = image_side * image_side;
inline constexpr int image_bytes = image_pixels * image_channels;

}  // namespace mlkd
