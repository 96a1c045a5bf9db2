#include "engine/kernels/elementwise.h"

#include "engine/types.h"

namespace mlkd {
namespace {

template <class T> struct AddTo {
    T* sum;
    const T* addend;
    MLKD_HD void operator()(std::int64_t i) const {
        using C = computed_t<T>;
        sum[i] = static_cast<T>(static_cast<C>(sum[i]) + static_cast<C>(addend[i]));
    }
};

template <class To, class From> struct Convert {
    To* to;
    const From* from;
    MLKD_HD void operator()(std::int64_t i) const {
        to[i] = static_cast<To>(static_cast<computed_t<To>>(static_cast<computed_t<From>>(from[i])));
    }
};

template <class T> struct Fill {
    T* to;
    float value;
    MLKD_HD void operator()(std::int64_t i) const { to[i] = static_cast<T>(value); }
};

void require_same(const Tensor& a, const Tensor& b) {
    MLKD_CHECK(a.shape == b.shape, "element-wise: shapes " + a.shape.text() + " and " + b.shape.text() + " differ");
}

}  // namespace

void add_to(const Stream& stream, const Tensor& sum, const Tensor& addend) {
    require_same(sum, addend);
    with_stored_type(sum.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, sum.elements(), AddTo<T>{sum.as<T>(), addend.as<T>()});
    });
}

void copy(const Stream& stream, const Tensor& to, const Tensor& from) {
    require_same(to, from);
    with_stored_type(to.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, to.elements(), Convert<T, T>{to.as<T>(), from.as<T>()});
    });
}

void convert(const Stream& stream, const Tensor& to, const Tensor& from) {
    require_same(to, from);
    with_stored_type(to.dtype, [&](auto to_zero) {
        with_stored_type(from.dtype, [&](auto from_zero) {
            using To = decltype(to_zero);
            using From = decltype(from_zero);
            for_each_index(stream, to.elements(), Convert<To, From>{to.as<To>(), from.as<From>()});
        });
    });
}

void fill(const Stream& stream, const Tensor& to, float value) {
    with_stored_type(to.dtype, [&](auto zero) {
        using T = decltype(zero);
        for_each_index(stream, to.elements(), Fill<T>{to.as<T>(), value});
    });
}

}  // namespace mlkd
