#pragma once
// Double-precision references for the layers, as plain as the formulas.
#include <cmath>
#include <cstdint>
#include <vector>

namespace mlkd::naive {

struct BatchNormCase {
    std::int64_t pixels;  // of a view
    std::int64_t views, channels;
    std::vector<double> x, residual, gamma, beta;  // (views · pixels, channels), the same or empty, (channels), (channels)
    bool relu;
    double epsilon = 1e-5;

    std::size_t at(std::int64_t view, std::int64_t p, std::int64_t c) const {
        return static_cast<std::size_t>((view * pixels + p) * channels + c);
    }
    double mean(std::int64_t view, std::int64_t c) const {
        double sum = 0;
        for (std::int64_t p = 0; p < pixels; ++p) sum += x[at(view, p, c)];
        return sum / static_cast<double>(pixels);
    }
    double variance(std::int64_t view, std::int64_t c) const {
        double sum = 0;
        const double m = mean(view, c);
        for (std::int64_t p = 0; p < pixels; ++p) sum += (x[at(view, p, c)] - m) * (x[at(view, p, c)] - m);
        return sum / static_cast<double>(pixels);
    }
    std::vector<double> forward() const {
        std::vector<double> y(x.size());
        for (std::int64_t view = 0; view < views; ++view)
            for (std::int64_t c = 0; c < channels; ++c) {
                const double m = mean(view, c), deviation = std::sqrt(variance(view, c) + epsilon);
                for (std::int64_t p = 0; p < pixels; ++p) {
                    const std::size_t i = at(view, p, c);
                    double z = (x[i] - m) / deviation * gamma[static_cast<std::size_t>(c)] + beta[static_cast<std::size_t>(c)];
                    if (!residual.empty()) z += residual[i];
                    y[i] = relu && z < 0 ? 0 : z;
                }
            }
        return y;
    }
    // L = Σ weight · y: its value, whose finite differences are the reference of every gradient.
    double loss(const std::vector<double>& weight) const {
        const std::vector<double> y = forward();
        double sum = 0;
        for (std::size_t i = 0; i < y.size(); ++i) sum += weight[i] * y[i];
        return sum;
    }
    struct Gradients {
        std::vector<double> x, gamma, beta;
    };
    // Of the same L, by the chain rule. The signs of the ReLU are those of `y`: near a kink rounding decides them.
    Gradients gradients(const std::vector<double>& weight, const std::vector<double>& y) const {
        const auto size = static_cast<std::size_t>(channels);
        Gradients out{std::vector<double>(x.size()), std::vector<double>(size), std::vector<double>(size)};
        for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t view = 0; view < views; ++view) {
                const double m = mean(view, c), deviation = std::sqrt(variance(view, c) + epsilon);
                const auto dz = [&](std::size_t i) { return relu && y[i] <= 0 ? 0.0 : weight[i]; };
                double sum = 0, sum_xhat = 0;
                for (std::int64_t p = 0; p < pixels; ++p) {
                    const std::size_t i = at(view, p, c);
                    sum += dz(i);
                    sum_xhat += dz(i) * (x[i] - m) / deviation;
                }
                out.beta[static_cast<std::size_t>(c)] += sum;
                out.gamma[static_cast<std::size_t>(c)] += sum_xhat;
                const double n = static_cast<double>(pixels);
                for (std::int64_t p = 0; p < pixels; ++p) {
                    const std::size_t i = at(view, p, c);
                    out.x[i] = gamma[static_cast<std::size_t>(c)] / deviation * (dz(i) - sum / n - (x[i] - m) / deviation * sum_xhat / n);
                }
            }
        return out;
    }
};

// dL/dvalue by the central difference with one Richardson step: error O(h⁴).
template <class Loss> double finite_difference(double& value, Loss loss, double h = 1e-4) {
    const double start = value;
    const auto central = [&](double step) {
        value = start + step;
        const double above = loss();
        value = start - step;
        const double below = loss();
        value = start;
        return (above - below) / (2 * step);
    };
    return (4 * central(h / 2) - central(h)) / 3;
}

inline double relative_error(const std::vector<double>& got, const std::vector<double>& expected) {
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
        difference += (got[i] - expected[i]) * (got[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    return std::sqrt(difference) / (std::sqrt(norm) + 1e-30);
}

}  // namespace mlkd::naive
