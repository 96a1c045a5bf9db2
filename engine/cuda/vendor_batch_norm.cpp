#include "engine/vendor_batch_norm.h"

#include <cudnn_ops.h>

#include "engine/cuda/vendor.h"
#include "engine/error.h"

namespace mlkd {
namespace cuda {
namespace {

constexpr double epsilon = 1e-5;
constexpr double momentum = 0.1;
constexpr float one = 1.0f, zero = 0.0f;

// The part of cuDNN's older interface that this needs.
struct Functions {
    decltype(&::cudnnCreateTensorDescriptor) create_tensor;
    decltype(&::cudnnDestroyTensorDescriptor) destroy_tensor;
    decltype(&::cudnnSetTensor4dDescriptor) set_tensor;
    decltype(&::cudnnBatchNormalizationForwardTraining) forward;
    decltype(&::cudnnBatchNormalizationBackward) backward;

    Functions() {
        void* const library = cudnn_library();
        look_up(library, "cudnnCreateTensorDescriptor", create_tensor);
        look_up(library, "cudnnDestroyTensorDescriptor", destroy_tensor);
        look_up(library, "cudnnSetTensor4dDescriptor", set_tensor);
        look_up(library, "cudnnBatchNormalizationForwardTraining", forward);
        look_up(library, "cudnnBatchNormalizationBackward", backward);
    }
};

class CudnnBatchNorm final : public VendorBatchNorm {
public:
    explicit CudnnBatchNorm(cudaStream_t stream) : cudnn_(load_cudnn()) {
        cudnn_.check(cudnn_.create(&handle_), "starting");
        cudnn_.check(cudnn_.set_stream(handle_, stream), "setting the stream");
    }
    ~CudnnBatchNorm() override { cudnn_.destroy(handle_); }
    CudnnBatchNorm(const CudnnBatchNorm&) = delete;
    CudnnBatchNorm& operator=(const CudnnBatchNorm&) = delete;

    void forward(const Tensor& y, const Tensor& mean, const Tensor& inverse_deviation, const Tensor& running_mean,
                 const Tensor& running_variance, const Tensor& x, const Tensor& gamma, const Tensor& beta) override {
        const Shapes shapes(*this, x);
        cudnn_.check(functions_.forward(handle_, CUDNN_BATCHNORM_SPATIAL, &one, &zero, shapes.activation, x.data, shapes.activation, y.data,
                                        shapes.channel, gamma.data, beta.data, momentum, running_mean.data, running_variance.data, epsilon,
                                        mean.data, inverse_deviation.data),
                     "batch norm forward of " + x.shape.text());
    }
    void backward(const Tensor& dL_dx, const Tensor& dL_dgamma, const Tensor& dL_dbeta, const Tensor& dL_dy, const Tensor& x,
                  const Tensor& gamma, const Tensor& mean, const Tensor& inverse_deviation) override {
        const Shapes shapes(*this, x);
        cudnn_.check(functions_.backward(handle_, CUDNN_BATCHNORM_SPATIAL, &one, &zero, &one, &zero, shapes.activation, x.data,
                                         shapes.activation, dL_dy.data, shapes.activation, dL_dx.data, shapes.channel, gamma.data,
                                         dL_dgamma.data, dL_dbeta.data, epsilon, mean.data, inverse_deviation.data),
                     "batch norm backward of " + x.shape.text());
    }

private:
    // Descriptors of x (N, H, W, C) and of a vector over channels.
    struct Shapes {
        Shapes(const CudnnBatchNorm& norm, const Tensor& x) : owner(norm) {
            const auto extent = [&](int axis) { return static_cast<int>(x.dim(axis)); };
            const Cudnn& cudnn = owner.cudnn_;
            cudnn.check(owner.functions_.create_tensor(&activation), "a tensor");
            cudnn.check(owner.functions_.create_tensor(&channel), "a tensor");
            MLKD_CHECK(x.shape.rank() == 4 && (x.dtype == DType::f32 || x.dtype == DType::bf16), "cuDNN's batch norm: " + x.shape.text());
            const cudnnDataType_t type = x.dtype == DType::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
            cudnn.check(owner.functions_.set_tensor(activation, CUDNN_TENSOR_NHWC, type, extent(0), extent(3), extent(1), extent(2)),
                        "describing a tensor");
            cudnn.check(owner.functions_.set_tensor(channel, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, extent(3), 1, 1), "describing a vector");
        }
        ~Shapes() {
            owner.functions_.destroy_tensor(activation);
            owner.functions_.destroy_tensor(channel);
        }
        Shapes(const Shapes&) = delete;
        Shapes& operator=(const Shapes&) = delete;

        const CudnnBatchNorm& owner;
        cudnnTensorDescriptor_t activation = nullptr, channel = nullptr;
    };

    Cudnn cudnn_;
    Functions functions_;
    cudnnHandle_t handle_ = nullptr;
};

}  // namespace
}  // namespace cuda

std::unique_ptr<VendorBatchNorm> make_vendor_batch_norm(Backend& backend) {
    if (backend.stream().device != DeviceKind::cuda) return nullptr;
    return std::make_unique<cuda::CudnnBatchNorm>(static_cast<cudaStream_t>(backend.stream().handle));
}

}  // namespace mlkd
