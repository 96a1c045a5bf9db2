#include "apps/train/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <map>

#include "apps/config/fnv1a.h"
#include "data/readers/load.h"
#include "engine/error.h"
#include "engine/files/safetensors.h"
#include "losses/meters/accuracy.h"

namespace mlkd {
namespace {

const std::string optimizer_prefix = "optimizer.";  // then slot.parameter, or number
const std::string progress_prefix = "progress.";
constexpr int format = 2;
const std::string format_key = "checkpoint_format";

using Numbers = std::map<std::string, double>;

// A progress as named numbers and back: visit(name, number), which reads or sets it. `parts` are those of the losses.
template <class ProgressOrConst, class Visit>
void for_each_number(ProgressOrConst& progress, const Visit& visit) {
    visit("epoch", progress.epoch);
    visit("next_batch", progress.next_batch);
    visit("best_top1", progress.best_top1);
    visit("best_epoch", progress.best_epoch);
    visit("last_top1", progress.last_top1);
    visit("seconds", progress.seconds);
    visit("waited_for_data", progress.waited_for_data);
    visit("samples", progress.losses.samples);
    visit("steps", progress.losses.steps);
    visit("top1", progress.counts[AccuracyCounter::top1]);
    visit("top5", progress.counts[AccuracyCounter::top5]);
    visit("cross_entropy", progress.counts[AccuracyCounter::cross_entropy]);
    for (std::size_t part = 0; part < progress.parts.size(); ++part) visit("loss." + progress.parts[part], progress.losses.sums[part]);
}

// Format 1 has all numbers in one tensor "progress", in this order; of every method five parts.
constexpr const char* format_1[] = {"epoch",    "next_batch",    "best_top1",  "best_epoch", "last_top1",    "seconds", "waited_for_data",
                                    "loss.ce",  "loss.instance", "loss.batch", "loss.class", "loss.total",   "samples", "steps",
                                    "bad step", "bad part",      "top1",       "top5",       "cross_entropy"};

// The numbers of a full checkpoint; none for any other file.
Numbers saved_numbers(const SafetensorsFile& file) {
    Numbers numbers;
    if (const auto old = file.tensors.find("progress"); old != file.tensors.end()) {
        if (old->second.dtype == DType::f64 && old->second.elements() == std::ssize(format_1))
            for (std::size_t i = 0; i < std::size(format_1); ++i) numbers[format_1[i]] = old->second.as<double>()[i];
        return numbers;
    }
    for (const auto& [name, tensor] : file.tensors)
        if (name.starts_with(progress_prefix) && tensor.dtype == DType::f64 && tensor.elements() == 1)
            numbers[name.substr(progress_prefix.size())] = tensor.as<double>()[0];
    return numbers;
}

bool belongs_to_network(const std::string& name) {
    return !name.starts_with(optimizer_prefix) && !name.starts_with(progress_prefix) && name != "progress";
}

SafetensorsFile weights_file(const Network& network, const CheckpointInfo& info) {
    SafetensorsFile file;
    file.tensors = network.parameters().state();
    file.metadata = {{"format", "pt"},
                     {"producer", "mlkd"},
                     {"model", info.model},
                     {"classes", std::to_string(info.classes)},
                     {"dataset", info.dataset},
                     {"train_images", std::to_string(info.train_images)},
                     {"dataset_crc32", info.dataset_crc},
                     {"config_hash", info.config_hash},
                     {"epoch", std::to_string(info.epoch)},
                     {"threads", std::to_string(info.threads)},
                     {"precision", info.precision}};
    for (const auto& [key, value] : {std::pair{"settings", info.settings}, {"teacher", info.teacher}, {"resume_warnings", info.warnings}})
        if (!value.empty()) file.metadata[key] = value;
    if (info.top1 >= 0) file.metadata["test_top1"] = fmt::format("{}", info.top1);
    return file;
}

// A number from metadata; `fallback` where the entry is missing or no number.
template <class T> T number(const SafetensorsFile& file, const std::string& key, T fallback) {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end()) return fallback;
    T value{};
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size() ? value : fallback;
}

std::string text(const SafetensorsFile& file, const std::string& key) {
    const auto found = file.metadata.find(key);
    return found == file.metadata.end() ? std::string() : found->second;
}

template <class T>
std::int64_t non_finite_values(std::span<const T> values) {
    return std::ranges::count_if(values, [](T v) { return !std::isfinite(v); });
}
std::int64_t non_finite_values(const HostTensor& tensor) {
    if (tensor.dtype == DType::f32) return non_finite_values(tensor.as<float>());
    return tensor.dtype == DType::f64 ? non_finite_values(tensor.as<double>()) : 0;  // integers are finite; no other type is loaded
}

// Throws where a tensor holds an infinity or NaN: names the first one and says how many there are.
void require_finite(const std::map<std::string, HostTensor>& tensors, const std::string& path) {
    std::string first;
    int count = 0;
    for (const auto& [name, tensor] : tensors)
        if (const std::int64_t bad = non_finite_values(tensor); bad > 0 && ++count == 1)
            first = fmt::format("tensor '{}' is not finite: infinity or NaN in {} of its {} values", name, bad, tensor.elements());
    if (count == 0) return;
    throw Error(fmt::format("{}: {}{}; it was written by a run that diverged, or is damaged: use an earlier checkpoint", path, first,
                            count == 1 ? "" : fmt::format(" (the first of {} such tensors)", count)),
                ExitCode::non_finite);
}

// Calls visit(name in files, parameter, its part of the slot) for everything that the optimizer remembers of a parameter.
template <class Visit>
void for_each_slot(const ParameterStore& store, const OptimizerState& optimizer, const Visit& visit) {
    for (const auto& [slot, block] : optimizer.slots())
        for (const Parameter& parameter : store.parameters())
            visit(optimizer_prefix + slot + "." + parameter.name, parameter, store.part_of(block, parameter));
}

}  // namespace

void save_weights(const std::string& path, const Network& network, const CheckpointInfo& info) {
    write_safetensors(path, weights_file(network, info));
}

void save_checkpoint(const std::string& path, const Network& network, const OptimizerState& optimizer, const CheckpointInfo& info,
                     const Progress& progress) {
    SafetensorsFile file = weights_file(network, info);
    const ParameterStore& store = network.parameters();
    for_each_slot(store, optimizer, [&](const std::string& name, const Parameter& parameter, const Tensor& slot) {
        const std::vector<float> elements = store.in_pytorch_order(slot);
        file.tensors[name] = HostTensor::of<float>(file.tensors.at(parameter.name).shape, std::span<const float>(elements));
    });
    for (const auto& [name, tensor] : optimizer.numbers()) {
        const double number = optimizer.read(tensor);
        file.tensors[optimizer_prefix + name] = HostTensor::of<double>({1}, std::span<const double>(&number, 1));
    }
    for_each_number(progress, [&](const std::string& name, const auto& value) {
        const auto number = static_cast<double>(value);
        file.tensors[progress_prefix + name] = HostTensor::of<double>({1}, std::span<const double>(&number, 1));
    });
    file.metadata[format_key] = std::to_string(format);
    write_safetensors(path, file);
}

std::string weights_digest(const Network& network) {
    Fnv1a hash;
    for (const auto& [name, tensor] : network.parameters().state()) {
        hash.add(name);
        hash.add(tensor.bytes);
    }
    return hash.text();
}

std::string non_finite_tensor(const Network& network, const OptimizerState& optimizer) {
    const ParameterStore& store = network.parameters();
    for (const auto& [name, tensor] : store.state())
        if (non_finite_values(tensor) > 0) return name;
    std::string found;
    for_each_slot(store, optimizer, [&](const std::string& name, const Parameter&, const Tensor& slot) {
        if (!found.empty()) return;
        const std::vector<float> elements = store.in_pytorch_order(slot);
        if (non_finite_values(std::span<const float>(elements)) > 0) found = name;
    });
    return found;
}

CheckpointInfo checkpoint_info(const SafetensorsFile& file) {
    CheckpointInfo info;
    info.model = text(file, "model");
    info.classes = number(file, "classes", 0);
    info.dataset = text(file, "dataset");
    info.train_images = number<std::int64_t>(file, "train_images", 0);
    info.dataset_crc = text(file, "dataset_crc32");
    info.config_hash = text(file, "config_hash");
    info.epoch = number<std::int64_t>(file, "epoch", 0);
    info.top1 = number(file, "test_top1", -1.0);
    info.threads = number(file, "threads", 0);
    info.precision = text(file, "precision");
    info.settings = text(file, "settings");
    info.teacher = text(file, "teacher");
    info.warnings = text(file, "resume_warnings");
    return info;
}

bool other_data(const CheckpointInfo& saved, const std::string& dataset) {
    if (saved.dataset.empty() || saved.dataset == dataset) return false;
    return !(saved.dataset_crc.empty() && is_idx(saved.dataset) && is_idx(dataset));
}

bool same_data(const CheckpointInfo& saved, const CheckpointInfo& now) {
    if (saved.train_images != now.train_images || saved.classes != now.classes) return false;
    return saved.dataset_crc.empty() ? !saved.dataset.empty() && !other_data(saved, now.dataset) : saved.dataset_crc == now.dataset_crc;
}

void load_weights(Network& network, const SafetensorsFile& file, const std::string& path) {
    std::map<std::string, HostTensor> state;
    for (const auto& [name, tensor] : file.tensors)
        if (belongs_to_network(name)) state[name] = tensor;
    const CheckpointInfo info = checkpoint_info(file);
    if (!info.model.empty() && info.model != network.name())
        throw Error(fmt::format("{}: holds a {}, but a {} is wanted", path, info.model, network.name()));
    if (info.classes != 0 && info.classes != network.classes())
        throw Error(fmt::format("{}: its network has {} classes, but {} are wanted", path, info.classes, network.classes()));
    require_finite(state, path);
    network.parameters().set_state(state, path);
}

std::unique_ptr<Network> load_network(Backend& backend, const std::string& path, const std::string& model, Role role, DType precision,
                                      CheckpointInfo* info_out) {
    const SafetensorsFile file = read_safetensors(path);
    CheckpointInfo info = checkpoint_info(file);
    if (!model.empty()) info.model = model;
    if (info.model.empty()) throw Error(fmt::format("{}: does not say which model it holds; name it with --model", path));
    // The bias of the linear layer has an element a class: it tells the number in a foreign file, and a damaged number of
    // classes is found before a network of that size is built.
    std::int64_t classes = 0;
    for (const auto& [name, tensor] : file.tensors)
        if (name.ends_with("fc.bias") && tensor.shape.size() == 1) classes = tensor.shape[0];
    if (classes == 0) throw Error(fmt::format("{}: has no 'fc.bias': not a checkpoint of one of these networks", path));
    if (info.classes != 0 && info.classes != classes)
        throw Error(fmt::format("{}: says {} classes, but its 'fc.bias' has {} elements: damaged", path, info.classes, classes));
    info.classes = static_cast<int>(classes);
    auto network = make_network(backend, info.model, {info.classes, role, precision});
    load_weights(*network, file, path);
    if (info_out != nullptr) *info_out = info;
    return network;
}

Progress checkpoint_progress(const SafetensorsFile& file, const std::string& path, const std::vector<std::string>& parts) {
    if (const int written = number(file, format_key, 1); written > format)
        throw Error(fmt::format("{}: a checkpoint of format {}, from a later version; this one reads up to {}", path, written, format));
    const Numbers numbers = saved_numbers(file);
    if (numbers.empty()) throw Error(fmt::format("{}: holds weights only, no run to resume (resume from last.safetensors)", path));
    Progress progress;
    progress.parts = parts;
    progress.losses.sums.resize(parts.size());
    for_each_number(progress, [&](const std::string& name, auto& value) {
        const auto found = numbers.find(name);
        if (found == numbers.end()) throw Error(fmt::format("{}: has no '{}{}': damaged", path, progress_prefix, name));
        value = static_cast<std::remove_reference_t<decltype(value)>>(found->second);
    });
    if (!(progress.epoch >= 1) || progress.next_batch < 0) throw Error(fmt::format("{}: its progress makes no sense: damaged", path));
    return progress;
}

Progress load_checkpoint(Network& network, const OptimizerState& optimizer, const std::vector<std::string>& parts,
                         const SafetensorsFile& file, const std::string& path) {
    const Progress progress = checkpoint_progress(file, path, parts);
    ParameterStore& store = network.parameters();
    const auto require_tensor = [&](const std::string& name, DType dtype, std::int64_t elements) {
        const auto found = file.tensors.find(name);
        if (found == file.tensors.end() || found->second.dtype != dtype || found->second.elements() != elements)
            throw Error(fmt::format("{}: '{}' of {} is missing or misshapen: not a checkpoint of this run", path, name, optimizer.name()));
    };
    for_each_slot(store, optimizer, [&](const std::string& name, const Parameter& parameter, const Tensor&) {
        require_tensor(name, DType::f32, parameter.shape.elements());
    });
    for (const auto& [name, tensor] : optimizer.numbers()) require_tensor(optimizer_prefix + name, DType::f64, 1);
    require_finite(file.tensors, path);
    load_weights(network, file, path);
    for_each_slot(store, optimizer, [&](const std::string& name, const Parameter&, const Tensor& slot) {
        const auto elements = file.tensors.at(name).as<float>();
        store.from_pytorch_order(slot, {elements.begin(), elements.end()});
    });
    for (const auto& [name, tensor] : optimizer.numbers())
        optimizer.write(tensor, file.tensors.at(optimizer_prefix + name).as<double>()[0]);
    return progress;
}

}  // namespace mlkd
