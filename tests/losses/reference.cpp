// Long double, so that the sums of nearly equal terms of a student close to its teacher keep the digits of a double.
#include <algorithm>
#include <cmath>
#include <vector>

#include "tests/losses/problem.h"

namespace mlkd::test {
namespace {

using Real = long double;
using Matrix = std::vector<std::vector<Real>>;

Matrix zeros(std::size_t rows, std::size_t columns) { return Matrix(rows, std::vector<Real>(columns, 0)); }

Matrix softmax_rows(const Matrix& z, Real temperature) {
    Matrix p = z;
    for (auto& row : p) {
        const Real maximum = *std::max_element(row.begin(), row.end());
        Real sum = 0;
        for (Real& x : row) sum += x = std::exp((x - maximum) / temperature);
        for (Real& x : row) x /= sum;
    }
    return p;
}

Matrix transposed(const Matrix& a) {
    Matrix t = zeros(a[0].size(), a.size());
    for (std::size_t i = 0; i < a.size(); ++i)
        for (std::size_t j = 0; j < a[0].size(); ++j) t[j][i] = a[i][j];
    return t;
}

// X Xᵀ
Matrix gram(const Matrix& x) {
    Matrix g = zeros(x.size(), x.size());
    for (std::size_t i = 0; i < x.size(); ++i)
        for (std::size_t j = 0; j <= i; ++j) {
            Real sum = 0;
            for (std::size_t k = 0; k < x[0].size(); ++k) sum += x[i][k] * x[j][k];
            g[i][j] = g[j][i] = sum;
        }
    return g;
}

struct Row {
    Real mean = 0, deviation = 0;
};

Row statistics(const std::vector<Real>& z) {
    Row row;
    for (Real x : z) row.mean += x / static_cast<Real>(z.size());
    for (Real x : z) row.deviation += (x - row.mean) * (x - row.mean) / static_cast<Real>(z.size() - 1);
    row.deviation = std::sqrt(row.deviation);
    return row;
}

Matrix standardized(const Matrix& z) {
    Matrix out = z;
    for (auto& x : out) {
        const Row row = statistics(x);
        for (Real& value : x) value = (value - row.mean) / (Real{1e-7L} + row.deviation);
    }
    return out;
}

// aᵀ b
Matrix product(const Matrix& a, const Matrix& b) {
    Matrix c = zeros(a[0].size(), b[0].size());
    for (std::size_t k = 0; k < a.size(); ++k)
        for (std::size_t i = 0; i < c.size(); ++i)
            for (std::size_t j = 0; j < c[0].size(); ++j) c[i][j] += a[k][i] * b[k][j];
    return c;
}

// The squared distance of correlation(), for items so many that their matrix would be too large: from the small matrices
//     ‖X_s X_sᵀ - X_t X_tᵀ‖² = ‖X_sᵀ X_s‖² - 2 ‖X_tᵀ X_s‖² + ‖X_tᵀ X_t‖².
Real squared_distance(Matrix& dL_dx, const Matrix& student, const Matrix& teacher) {
    const auto n = static_cast<Real>(student.size());
    const Matrix ss = product(student, student), ts = product(teacher, student), tt = product(teacher, teacher);
    Real value = 0;
    for (std::size_t i = 0; i < ss.size(); ++i)
        for (std::size_t j = 0; j < ss.size(); ++j) value += (ss[i][j] * ss[i][j] - 2 * ts[i][j] * ts[i][j] + tt[i][j] * tt[i][j]) / n;
    dL_dx = zeros(student.size(), ss.size());
    for (std::size_t i = 0; i < student.size(); ++i)
        for (std::size_t j = 0; j < ss.size(); ++j)
            for (std::size_t k = 0; k < ss.size(); ++k) dL_dx[i][k] += 4 / n * (student[i][j] * ss[j][k] - teacher[i][j] * ts[j][k]);
    return value;
}

// The value of a level over the rows of X (items), and its gradient in X_s.
Real correlation(Matrix& dL_dx, const Matrix& student, const Matrix& teacher, Divergence divergence) {
    constexpr std::size_t many = 4096;
    if (student.size() > many && divergence == Divergence::frobenius) return squared_distance(dL_dx, student, teacher);
    const Matrix r_s = gram(student), r_t = gram(teacher);
    const std::size_t n = student.size(), d = student[0].size();
    Matrix m = zeros(n, n);  // dL/dR_s
    Real value = 0;
    for (std::size_t i = 0; i < n; ++i) {
        Real sum_s = 0, sum_t = 0;
        for (std::size_t j = 0; j < n; ++j) {
            sum_s += r_s[i][j];
            sum_t += r_t[i][j];
        }
        for (std::size_t j = 0; j < n; ++j) {
            if (divergence == Divergence::frobenius) {
                const Real difference = r_s[i][j] - r_t[i][j];
                value += difference * difference / static_cast<Real>(n);
                m[i][j] = 2 * difference / static_cast<Real>(n);
            } else {
                const Real q_s = r_s[i][j] / sum_s, q_t = r_t[i][j] / sum_t;
                if (q_t > 0) value += q_t * std::log(q_t / q_s) / static_cast<Real>(n);
                m[i][j] = (1 - q_t / q_s) / sum_s / static_cast<Real>(n);
            }
        }
    }
    dL_dx = zeros(n, d);
    for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
            for (std::size_t k = 0; k < d; ++k) dL_dx[i][k] += (m[i][j] + m[j][i]) * student[j][k];
    return value;
}

// NumPy's percentile 50.
Real median(std::vector<Real> values) {
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

Real share_up_to_median(const std::vector<Real>& values) {
    const Real limit = median(values);
    return static_cast<Real>(std::count_if(values.begin(), values.end(), [&](Real x) { return x <= limit; })) /
           static_cast<Real>(values.size());
}

class Evaluation {
public:
    explicit Evaluation(const Problem& problem) : config_(problem.config), target_(problem.target) {
        for (int view = 0; view < view_count(config_.levels); ++view) {
            student_.push_back(matrix(problem, problem.student, view));
            if (!problem.teacher.empty()) teacher_.push_back(matrix(problem, problem.teacher, view));
            gradient_.push_back(zeros(student_[0].size(), student_[0][0].size()));
        }
    }

    Outcome run() {
        for (std::size_t view = 0; view < student_.size(); ++view) cross_entropy(view);
        const Real kd = config_.kd_weight;
        for (std::size_t i = 0; i < config_.temperatures.size() && config_.levels != Levels::none; ++i) {
            const Real temperature = config_.temperatures[i];
            if (config_.levels == Levels::instance) {
                instance(0, temperature, kd);
            } else if (config_.levels == Levels::paper) {
                for (std::size_t view : {0u, 1u}) {
                    instance(view, temperature, kd);
                    correlations(view, temperature, kd, kd);
                }
            } else {
                const auto [mask_b, mask_c] = masks();
                instance(0, temperature, kd * mask_b);
                instance(i < 3 ? 1 : 0, temperature, kd);
                correlations(0, temperature, kd * mask_b, kd * mask_c);
            }
        }
        Outcome outcome;
        for (std::size_t part = 0; part < LossPart::total; ++part) {
            outcome.losses[part] = static_cast<double>(losses_[part]);
            losses_[LossPart::total] += losses_[part];
        }
        outcome.losses[LossPart::total] = static_cast<double>(losses_[LossPart::total]);
        for (const Matrix& view : gradient_)
            for (const auto& row : view)
                for (Real x : row) outcome.gradient.push_back(static_cast<double>(x));
        return outcome;
    }

private:
    static Matrix matrix(const Problem& problem, const std::vector<float>& logits, int view) {
        const auto rows = static_cast<std::size_t>(problem.samples), columns = static_cast<std::size_t>(problem.classes);
        Matrix z = zeros(rows, columns);
        for (std::size_t i = 0; i < rows; ++i)
            for (std::size_t j = 0; j < columns; ++j) z[i][j] = logits[(static_cast<std::size_t>(view) * rows + i) * columns + j];
        return z;
    }
    Real samples() const { return static_cast<Real>(target_.size()); }

    void cross_entropy(std::size_t view) {
        const Matrix& z = student_[view];
        const Matrix p = softmax_rows(z, 1);
        const Real weight = config_.ce_weight / samples();
        for (std::size_t b = 0; b < p.size(); ++b) {
            const auto y = static_cast<std::size_t>(target_[b]);
            const Real maximum = *std::max_element(z[b].begin(), z[b].end());
            Real others = 0;  // Σ e^(z - z_y) without y, or from the maximum where that would overflow
            for (std::size_t c = 0; c < p[b].size(); ++c)
                if (c != y) others += std::exp(z[b][c] - maximum);
            const Real own = std::exp(z[b][y] - maximum);
            losses_[LossPart::ce] += weight * (own > 0 ? std::log1p(others / own) : std::log(others) + maximum - z[b][y]);
            for (std::size_t c = 0; c < p[b].size(); ++c) gradient_[view][b][c] += weight * (c == y ? -others / (others + own) : p[b][c]);
            if (config_.label_smoothing == 0) continue;
            const Real share = config_.label_smoothing / static_cast<Real>(p[b].size());  // what each class gets from the label
            for (std::size_t c = 0; c < p[b].size(); ++c) {
                losses_[LossPart::ce] += weight * share * (z[b][y] - z[b][c]);
                gradient_[view][b][c] -= weight * share;
            }
            gradient_[view][b][y] += weight * config_.label_smoothing;
        }
    }

    void instance(std::size_t view, Real temperature, Real weight) {
        weight *= config_.instance_weight;
        const bool standardize = config_.logit_standardization;
        const Matrix p = softmax_rows(standardize ? standardized(student_[view]) : student_[view], temperature);
        const Matrix q = softmax_rows(standardize ? standardized(teacher_[view]) : teacher_[view], temperature);
        const Matrix zp = standardize ? standardized(student_[view]) : student_[view];
        const Matrix zq = standardize ? standardized(teacher_[view]) : teacher_[view];
        for (std::size_t b = 0; b < p.size(); ++b) {
            const std::size_t n = p[b].size();
            losses_[LossPart::instance] += weight * temperature * temperature / samples() * row_kl(zp[b], zq[b], temperature);
            std::vector<Real> u(n);
            for (std::size_t c = 0; c < n; ++c) u[c] = weight * temperature / samples() * (p[b][c] - q[b][c]);
            if (standardize) u = through_standardization(u, student_[view][b]);
            for (std::size_t c = 0; c < n; ++c) gradient_[view][b][c] += u[c];
        }
    }

    static Real row_kl(const std::vector<Real>& student, const std::vector<Real>& teacher, Real temperature) {
        const auto log_softmax = [&](const std::vector<Real>& z) {
            const Real maximum = *std::max_element(z.begin(), z.end());
            Real sum = 0;
            for (Real x : z) sum += std::exp((x - maximum) / temperature);
            std::vector<Real> out = z;
            for (Real& x : out) x = (x - maximum) / temperature - std::log(sum);
            return out;
        };
        const std::vector<Real> s = log_softmax(student), t = log_softmax(teacher);
        Real kl = 0;
        for (std::size_t c = 0; c < s.size(); ++c) kl += std::exp(t[c]) * (t[c] - s[c]);
        return kl;
    }

    static std::vector<Real> through_standardization(const std::vector<Real>& u, const std::vector<Real>& z) {
        const Row row = statistics(z);
        const auto n = static_cast<Real>(z.size());
        const Real scale = row.deviation + Real{1e-7L};
        Real sum = 0, along = 0;
        for (std::size_t c = 0; c < z.size(); ++c) {
            sum += u[c];
            along += u[c] * (z[c] - row.mean);
        }
        std::vector<Real> out(z.size());
        for (std::size_t c = 0; c < z.size(); ++c) {
            out[c] = (u[c] - sum / n) / scale;
            if (row.deviation > 0) out[c] -= along / (scale * scale) * (z[c] - row.mean) / ((n - 1) * row.deviation);
        }
        return out;
    }

    void correlations(std::size_t view, Real temperature, Real batch_weight, Real class_weight) {
        const Matrix p = softmax_rows(student_[view], temperature), q = softmax_rows(teacher_[view], temperature);
        Matrix of_samples, of_classes;
        batch_weight *= config_.batch_weight;
        class_weight *= config_.class_weight;
        // The squared distance of the n × n matrices is divided by n, which correlation() does for both divergences.
        losses_[LossPart::batch] += batch_weight * correlation(of_samples, p, q, config_.divergence);
        losses_[LossPart::class_] += class_weight * correlation(of_classes, transposed(p), transposed(q), config_.divergence);
        for (std::size_t b = 0; b < p.size(); ++b) {
            std::vector<Real> g(p[b].size());
            Real along = 0;
            for (std::size_t c = 0; c < g.size(); ++c) {
                g[c] = batch_weight * of_samples[b][c] + class_weight * of_classes[c][b];
                along += g[c] * p[b][c];
            }
            for (std::size_t c = 0; c < g.size(); ++c) gradient_[view][b][c] += p[b][c] * (g[c] - along) / temperature;
        }
    }

    // Means of the two masks. Rounded to double, as the definition's ties are those of float64.
    std::pair<Real, Real> masks() const {
        std::vector<Real> confidence, mass(teacher_[0][0].size(), 0);
        for (const auto& row : softmax_rows(teacher_[0], 1)) {
            confidence.push_back(static_cast<double>(*std::max_element(row.begin(), row.end())));
            for (std::size_t c = 0; c < row.size(); ++c) mass[c] += row[c];
        }
        for (Real& x : mass) x = static_cast<double>(x);
        return {share_up_to_median(confidence), share_up_to_median(mass)};
    }

    DistillationConfig config_;
    std::vector<std::int32_t> target_;
    std::vector<Matrix> student_, teacher_, gradient_;  // of each view
    std::array<Real, loss_part_count> losses_{};
};

}  // namespace

Outcome reference(const Problem& problem) { return Evaluation(problem).run(); }

}  // namespace mlkd::test
