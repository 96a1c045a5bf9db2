#pragma once
// The loss that a case's metadata describes.
#include "engine/files/safetensors.h"
#include "losses/distillation.h"

namespace mlkd::golden {

DistillationConfig distillation_settings(const SafetensorsFile& file);

}  // namespace mlkd::golden
