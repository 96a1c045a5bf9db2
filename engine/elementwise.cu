#include "engine/elementwise.h"

#include "engine/error.h"

namespace mlkd {
namespace {

struct AddTo {
    float* sum;
    const float* addend;
    MLKD_HD void operator()(std::int64_t i) const { sum[i] += addend[i]; }
};

struct Copy {
    float* to;
    const float* from;
    MLKD_HD void operator()(std::int64_t i) const { to[i] = from[i]; }
};

struct Fill {
    float* to;
    float value;
    MLKD_HD void operator()(std::int64_t i) const { to[i] = value; }
};

void require_same(const Tensor& a, const Tensor& b) {
    MLKD_CHECK(a.shape == b.shape, "element-wise: shapes " + a.shape.text() + " and " + b.shape.text() + " differ");
}

}  // namespace

void add_to(const Stream& stream, const Tensor& sum, const Tensor& addend) {
    require_same(sum, addend);
    for_each_index(stream, sum.elements(), AddTo{sum.as<float>(), addend.as<float>()});
}

void copy(const Stream& stream, const Tensor& to, const Tensor& from) {
    require_same(to, from);
    for_each_index(stream, to.elements(), Copy{to.as<float>(), from.as<float>()});
}

void fill(const Stream& stream, const Tensor& to, float value) {
    for_each_index(stream, to.elements(), Fill{to.as<float>(), value});
}

}  // namespace mlkd
