#pragma once
// cuDNN's backend descriptors: bags of attributes that are set, finalized, and from then on constant.
#include <cudnn_graph.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/cuda/vendor.h"

namespace mlkd::cuda {

template <class T> constexpr cudnnBackendAttributeType_t attribute_type();
template <> constexpr cudnnBackendAttributeType_t attribute_type<std::int64_t>() { return CUDNN_TYPE_INT64; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<float>() { return CUDNN_TYPE_FLOAT; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<bool>() { return CUDNN_TYPE_BOOLEAN; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<char>() { return CUDNN_TYPE_CHAR; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnHandle_t>() { return CUDNN_TYPE_HANDLE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnDataType_t>() { return CUDNN_TYPE_DATA_TYPE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnConvolutionMode_t>() { return CUDNN_TYPE_CONVOLUTION_MODE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnPointwiseMode_t>() { return CUDNN_TYPE_POINTWISE_MODE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendHeurMode_t>() { return CUDNN_TYPE_HEUR_MODE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendKnobType_t>() { return CUDNN_TYPE_KNOB_TYPE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendNumericalNote_t>() { return CUDNN_TYPE_NUMERICAL_NOTE; }
template <> constexpr cudnnBackendAttributeType_t attribute_type<cudnnBackendBehaviorNote_t>() { return CUDNN_TYPE_BEHAVIOR_NOTE; }

// Owns one descriptor. Errors throw Error, except where a name begins with try_.
class Descriptor {
public:
    Descriptor(const Cudnn& cudnn, cudnnBackendDescriptorType_t type);
    ~Descriptor();
    Descriptor(Descriptor&& other) noexcept;
    Descriptor& operator=(Descriptor&& other) noexcept;

    template <class T> void set(cudnnBackendAttributeName_t name, const T& value) { set_raw(name, attribute_type<T>(), 1, &value); }
    template <class T> void set_array(cudnnBackendAttributeName_t name, std::span<const T> values) {
        set_raw(name, attribute_type<T>(), static_cast<std::int64_t>(values.size()), values.data());
    }
    void set_descriptor(cudnnBackendAttributeName_t name, const Descriptor& value);
    void set_descriptors(cudnnBackendAttributeName_t name, const std::vector<Descriptor>& values);
    void set_pointer(cudnnBackendAttributeName_t name, const void* value);
    void set_pointers(cudnnBackendAttributeName_t name, std::span<void* const> values);

    void finalize(const std::string& what);
    cudnnStatus_t try_finalize();

    template <class T> T get(cudnnBackendAttributeName_t name) const {
        T value{};
        get_raw(name, attribute_type<T>(), 1, &value);
        return value;
    }
    template <class T> std::vector<T> get_array(cudnnBackendAttributeName_t name) const {
        std::vector<T> values(static_cast<std::size_t>(count(name, attribute_type<T>())));
        const std::int64_t got = get_raw(name, attribute_type<T>(), static_cast<std::int64_t>(values.size()), values.data());
        values.resize(static_cast<std::size_t>(got));
        return values;
    }
    // Descriptors inside this one, of the type named: at most `room`, or with 0 as many as cuDNN counts (it counts no knobs).
    std::vector<Descriptor> get_descriptors(cudnnBackendAttributeName_t name, cudnnBackendDescriptorType_t type,
                                            std::int64_t room = 0) const;

    cudnnBackendDescriptor_t raw() const { return descriptor_; }

private:
    void set_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count, const void* values);
    std::int64_t get_raw(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t room, void* values) const;
    std::int64_t count(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type) const;

    const Cudnn* cudnn_;
    cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace mlkd::cuda
