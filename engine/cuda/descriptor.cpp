#include "engine/cuda/descriptor.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace mlkd::cuda {

Descriptor::Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type) : cudnn_(&cudnn) {
    cudnn.check(cudnn.create_descriptor(type, &descriptor_), fmt::format("descriptor of type {}", static_cast<int>(type)));
}

Descriptor::~Descriptor() {
    if (descriptor_ != nullptr) cudnn_->destroy_descriptor(descriptor_);
}

Descriptor::Descriptor(Descriptor&& other) noexcept : cudnn_(other.cudnn_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
    std::swap(cudnn_, other.cudnn_);
    std::swap(descriptor_, other.descriptor_);
    return *this;
}

void Descriptor::set_descriptor(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &value.descriptor_);
}

void Descriptor::set_descriptors(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values) {
    std::vector<cudnnBackendDescriptor_t> raw;
    for (const Descriptor& value : values) raw.push_back(value.descriptor_);
    set_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<std::int64_t>(raw.size()), raw.data());
}

void Descriptor::set_pointer(cudnnBackendAttributeName_t name, const void* value) { set_raw(name, CUDNN_TYPE_VOID_PTR, 1, &value); }

void Descriptor::set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> values) {
    set_raw(name, CUDNN_TYPE_VOID_PTR, static_cast<std::int64_t>(values.size()), values.data());
}

void Descriptor::finalize(const std::string& what) { cudnn_->check(try_finalize(), what); }

cudnnStatus_t Descriptor::try_finalize() { return cudnn_->finalize(descriptor_); }

std::vector<Descriptor> Descriptor::get_descriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                                    std::int64_t room) const {
    const std::int64_t wanted = room > 0 ? room : count(name, CUDNN_TYPE_BACKEND_DESCRIPTOR);
    std::vector<Descriptor> values;
    std::vector<cudnnBackendDescriptor_t> raw;
    for (std::int64_t i = 0; i < wanted; ++i) raw.push_back(values.emplace_back(*cudnn_, type).descriptor_);
    const std::int64_t got = get_raw(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, wanted, raw.data());
    values.erase(values.begin() + static_cast<std::ptrdiff_t>(got), values.end());
    return values;
}

void Descriptor::set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values) {
    cudnn_->check(cudnn_->set_attribute(descriptor_, name, type, count, values),
                  fmt::format("setting attribute {}", static_cast<int>(name)));
}

std::int64_t Descriptor::get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t room,
                                 void* values) const {
    std::int64_t got = 0;
    if (room > 0)
        cudnn_->check(cudnn_->get_attribute(descriptor_, name, type, room, &got, values),
                      fmt::format("reading attribute {}", static_cast<int>(name)));
    return std::min(got, room);
}

std::int64_t Descriptor::count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const {
    std::int64_t count = 0;
    cudnn_->check(cudnn_->get_attribute(descriptor_, name, type, 0, &count, nullptr),
                  fmt::format("counting attribute {}", static_cast<int>(name)));
    return count;
}

}  // namespace mlkd::cuda
