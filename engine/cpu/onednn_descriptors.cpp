#include "engine/cpu/onednn_descriptors.h"

namespace mlkd::cpu {
namespace {

// Also for a network in evaluation mode: the kind `inference` wants Winograd's filters transformed beforehand by a
// reorder that takes longer than the convolution; the kind `training` does it inside, in a twentieth of the time.
constexpr auto forward_kind = dnnl::prop_kind::forward_training;
constexpr bool empty_if_unsupported = true;

void append_eltwise(dnnl::post_ops& post_ops, dnnl::algorithm algorithm, float alpha) {
#if DNNL_VERSION_MAJOR >= 3
    post_ops.append_eltwise(algorithm, alpha, 0.0f);
#else
    post_ops.append_eltwise(1.0f, algorithm, alpha, 0.0f);
#endif
}

}  // namespace

#if DNNL_VERSION_MAJOR >= 3

dnnl::convolution_forward::primitive_desc convolution_forward(const dnnl::engine& engine, const ConvolutionLayouts& l,
                                                              const dnnl::primitive_attr& attr) {
    return {engine,           forward_kind, l.algorithm, l.x, l.w, l.bias, l.y, l.strides, l.padding_before, l.padding_after, attr,
            empty_if_unsupported};
}

dnnl::convolution_backward_data::primitive_desc convolution_backward_data(const dnnl::engine& engine, const ConvolutionLayouts& l,
                                                                          const dnnl::convolution_forward::primitive_desc& forward,
                                                                          const dnnl::primitive_attr& attr) {
    return {engine, l.algorithm, l.x, l.w, l.y, l.strides, l.padding_before, l.padding_after, forward, attr, empty_if_unsupported};
}

dnnl::convolution_backward_weights::primitive_desc convolution_backward_filter(const dnnl::engine& engine, const ConvolutionLayouts& l,
                                                                               const dnnl::convolution_forward::primitive_desc& forward,
                                                                               const dnnl::primitive_attr& attr) {
    return {engine, l.algorithm, l.x, l.w, l.y, l.strides, l.padding_before, l.padding_after, forward, attr, empty_if_unsupported};
}

#else

dnnl::convolution_forward::primitive_desc convolution_forward(const dnnl::engine& engine, const ConvolutionLayouts& l,
                                                              const dnnl::primitive_attr& attr) {
    return {{forward_kind, l.algorithm, l.x, l.w, l.bias, l.y, l.strides, l.padding_before, l.padding_after}, attr, engine,
            empty_if_unsupported};
}

dnnl::convolution_backward_data::primitive_desc convolution_backward_data(const dnnl::engine& engine, const ConvolutionLayouts& l,
                                                                          const dnnl::convolution_forward::primitive_desc& forward,
                                                                          const dnnl::primitive_attr& attr) {
    return {{l.algorithm, l.x, l.w, l.y, l.strides, l.padding_before, l.padding_after}, attr, engine, forward, empty_if_unsupported};
}

dnnl::convolution_backward_weights::primitive_desc convolution_backward_filter(const dnnl::engine& engine, const ConvolutionLayouts& l,
                                                                               const dnnl::convolution_forward::primitive_desc& forward,
                                                                               const dnnl::primitive_attr& attr) {
    return {{l.algorithm, l.x, l.w, l.y, l.strides, l.padding_before, l.padding_after}, attr, engine, forward, empty_if_unsupported};
}

#endif

dnnl::matmul::primitive_desc matmul(const dnnl::engine& engine, const dnnl::memory::desc& a, const dnnl::memory::desc& b,
                                    const dnnl::memory::desc& c, float alpha, float beta) {
    dnnl::primitive_attr attr = user_scratchpad();
    dnnl::post_ops post_ops;
#if DNNL_VERSION_MAJOR >= 3
    if (alpha != 1.0f) append_eltwise(post_ops, dnnl::algorithm::eltwise_linear, alpha);
#else
    if (alpha != 1.0f) attr.set_output_scales(0, {alpha});
#endif
    if (beta != 0.0f) post_ops.append_sum(beta);
    attr.set_post_ops(post_ops);
#if DNNL_VERSION_MAJOR >= 3
    return {engine, a, b, c, attr};
#else
    return {{a, b, c}, attr, engine};
#endif
}

void append_relu(dnnl::post_ops& post_ops) { append_eltwise(post_ops, dnnl::algorithm::eltwise_relu, 0.0f); }

dnnl::primitive_attr user_scratchpad() {
    dnnl::primitive_attr attr;
    attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
    return attr;
}

}  // namespace mlkd::cpu
