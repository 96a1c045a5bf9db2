#pragma once
// Datasets from files, and a synthetic one. Every failure is an Error that names the file, what is wrong, what to do.
#include <cstdint>
#include <string>

#include "data/dataset.h"

namespace mlkd {

// `where` is either
//   - a folder that holds, itself or one level down, CIFAR-100 (train.bin, test.bin), CIFAR-10 (data_batch_1.bin …,
//     test_batch.bin) or IDX files (train-images-idx3-ubyte …, t10k-…, plain or .gz), or
//   - "synthetic", "synthetic:IMAGES" or "synthetic:IMAGES:CLASSES".
// Counts, sizes and labels are checked here: whoever has a Dataset need not check it again.
Dataset load_dataset(const std::string& where, Split split);

// Each format by itself; `folder` holds the files.
Dataset load_cifar100(const std::string& folder, Split split);
Dataset load_cifar10(const std::string& folder, Split split);
// 28 × 28 grey images of ten classes (MNIST, Fashion-MNIST), padded with zeros to 32 × 32, the grey in all three channels.
Dataset load_idx(const std::string& folder, Split split);
// Images of learnable classes: a coarse pattern of colours for each class, under noise. A pure function of its arguments.
Dataset make_synthetic(std::int64_t images, std::int64_t classes, Split split);

}  // namespace mlkd
