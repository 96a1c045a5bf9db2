#include "layers/ops/add.h"

#include "engine/error.h"
#include "engine/kernels/elementwise.h"
#include "layers/ops/folded_convolution.h"

namespace mlkd {

Shape Add::output(const std::vector<Shape>& x) const {
    MLKD_CHECK(x.size() == 2 && x[0] == x[1], name_ + ": adds two values of one shape");
    return x[0];
}

void Add::forward(OpRun& run, const OpTensors& t) const {
    const Stream stream = run.backend.stream();
    if (t.y.data != t.x[0].data) copy(stream, t.y, t.x[0]);
    add_to(stream, t.y, t.x[1]);
}

std::shared_ptr<Op> Add::folded(const std::shared_ptr<Op>& producer, int) const {
    const auto convolution = std::dynamic_pointer_cast<const Conv2d>(producer);
    return convolution == nullptr ? nullptr : std::make_shared<FoldedConvolution>(convolution, nullptr, true, false);
}

}  // namespace mlkd
