#pragma once
// Datasets from files, and a synthetic one. Every failure is an Error that names the file, what is wrong, what to do.
#include <cstdint>
#include <string>

#include "data/dataset.h"

namespace mlkd {

// `where` is either
//   - a folder that holds, itself or up to two levels down (torchvision's FashionMNIST/raw), CIFAR-100 (train.bin, test.bin),
//     CIFAR-10 (data_batch_1.bin …, test_batch.bin) or IDX files (train-images-idx3-ubyte …, t10k-…, plain or .gz), or
//   - "synthetic", "synthetic:IMAGES" or "synthetic:IMAGES:CLASSES".
// Counts, sizes and labels are checked here: whoever has a Dataset need not check it again.
Dataset load_dataset(const std::string& where, Split split);

// Each format by itself; `folder` holds the files.
Dataset load_cifar100(const std::string& folder, Split split);
Dataset load_cifar10(const std::string& folder, Split split);
// 28 × 28 grey images of ten classes, padded with zeros to 32 × 32, the grey in all three channels. MNIST and Fashion-MNIST are
// recognised by their first labels and image ("mnist", "fashion-mnist"); any other set is "idx" with its digits as class names.
Dataset load_idx(const std::string& folder, Split split);
// Images of learnable classes: a coarse pattern of colours for each class, under noise. A pure function of its arguments.
Dataset make_synthetic(std::int64_t images, std::int64_t classes, Split split);

// Whether a data set's name is of one that load_idx() reads.
bool is_idx(const std::string& name);

}  // namespace mlkd
