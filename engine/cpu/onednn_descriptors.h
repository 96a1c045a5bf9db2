#pragma once
// Primitive descriptors for oneDNN 2 and 3, whose interfaces differ: version 2 wraps an operation descriptor, version 3 takes
// the arguments directly and has no output scale. No other file depends on the version.
#include <oneapi/dnnl/dnnl.hpp>

namespace mlkd::cpu {

// The layouts, or `any` for one of oneDNN's choice; x and y in its order of axes (N, C, H, W), w (K, C, R, S).
struct ConvolutionLayouts {
    dnnl::algorithm algorithm;
    dnnl::memory::desc x, w, bias, y;  // bias: empty for none
    dnnl::memory::dims strides, padding_before, padding_after;
};

// Each is empty where oneDNN has no such primitive.
dnnl::convolution_forward::primitive_desc convolution_forward(const dnnl::engine& engine, const ConvolutionLayouts& layouts,
                                                              const dnnl::primitive_attr& attr);
dnnl::convolution_backward_data::primitive_desc convolution_backward_data(const dnnl::engine& engine, const ConvolutionLayouts& layouts,
                                                                          const dnnl::convolution_forward::primitive_desc& forward,
                                                                          const dnnl::primitive_attr& attr);
dnnl::convolution_backward_weights::primitive_desc convolution_backward_filter(const dnnl::engine& engine, const ConvolutionLayouts& layouts,
                                                                               const dnnl::convolution_forward::primitive_desc& forward,
                                                                               const dnnl::primitive_attr& attr);

// c = alpha · a · b + beta · c. Throws dnnl::error where there is none.
dnnl::matmul::primitive_desc matmul(const dnnl::engine& engine, const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                    const dnnl::memory::desc& c, float alpha, float beta);

void append_relu(dnnl::post_ops& post_ops);
dnnl::primitive_attr user_scratchpad();  // attributes of a primitive that gets its scratchpad as an argument

}  // namespace mlkd::cpu
