#include "apps/train/step_trace.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/types.h"

namespace mlkd {

StepTrace::StepTrace(Backend& backend, Network& student, Network* teacher) : backend_(backend), student_(student), teacher_(teacher) {
    student_.watch([this](const Plan::Step* step, bool backward) { note(backward ? "backward" : "forward", step, backward); });
    if (teacher_ != nullptr) teacher_->watch([this](const Plan::Step* step, bool) { note("teacher", step, false); });
    lap();
}

StepTrace::~StepTrace() {
    student_.watch({});
    if (teacher_ != nullptr) teacher_->watch({});
}

double StepTrace::lap() {
    backend_.synchronize();
    const auto now = std::chrono::steady_clock::now();
    const double passed = std::chrono::duration<double, std::micro>(now - start_).count();
    start_ = now;
    return passed;
}

double StepTrace::norm(const Tensor& tensor) const {
    double square = 0;
    with_stored_type(tensor.dtype, [&](auto zero) {
        std::vector<decltype(zero)> host(static_cast<std::size_t>(tensor.elements()));
        backend_.copy_to_host(host.data(), tensor.data, tensor.bytes());
        for (const auto element : host) square += std::pow(static_cast<double>(static_cast<computed_t<decltype(zero)>>(element)), 2);
    });
    return std::sqrt(square);
}

void StepTrace::note(const std::string& pass, const Plan::Step* step, bool backward) {
    if (step != nullptr && step->aside) backend_.join();  // the branch beside this one is watched, too
    const double microseconds = lap();
    if (step == nullptr) {
        rows_.push_back({pass, backward ? "losses, accuracy" : "images", "", "", -1, microseconds});
    } else {
        const Tensor& of = backward ? step->dL_dy : step->forward.y;
        if (!of.empty()) rows_.push_back({pass, step->op->name(), step->op->kind(), of.shape.text(), norm(of), microseconds});
    }
    lap();  // what it took to look is not counted
}

std::string StepTrace::table() {
    rows_.push_back({"", "optimizer", "", "", -1, lap()});
    std::string table = fmt::format("{:<9} {:<28} {:<26} {:>18} {:>12} {:>10}\n", "pass", "operation", "kind", "shape", "norm", "us");
    for (const Row& row : rows_)
        table += fmt::format("{:<9} {:<28} {:<26} {:>18} {:>12} {:>10.0f}\n", row.pass, row.name, row.kind, row.shape,
                             row.norm < 0 ? "" : fmt::format("{:.4g}", row.norm), row.microseconds);
    return table;
}

}  // namespace mlkd
