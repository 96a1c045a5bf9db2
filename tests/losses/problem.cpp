#include "tests/losses/problem.h"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <limits>

namespace mlkd::test {
namespace {

constexpr std::size_t guard = 37;
constexpr float sentinel = -12345.678f;

// Floats between sentinels.
class Guarded {
public:
    explicit Guarded(std::size_t count) : memory_(count + 2 * guard, sentinel), count_(count) {}
    float* data() { return memory_.data() + guard; }
    void poison() {
        for (std::size_t i = 0; i < count_; ++i) data()[i] = std::numeric_limits<float>::quiet_NaN();
    }
    bool intact() const {
        for (std::size_t i = 0; i < guard; ++i)
            if (memory_[i] != sentinel || memory_[guard + count_ + i] != sentinel) return false;
        return true;
    }
    std::vector<float> values() { return {data(), data() + count_}; }

private:
    std::vector<float> memory_;
    std::size_t count_;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

class PlainBackend final : public Backend {
public:
    PlainBackend(int teams, int team_size) : launches_{teams, team_size} {}

    Stream stream() const override { return stream_of(launches_); }
    std::string description() const override { return "plain loops"; }
    int threads() const override { return 1; }
    void* allocate(std::size_t bytes) override {
        void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
        std::memset(memory, 0, bytes);
        return memory;
    }
    void free(void* memory) noexcept override { std::free(memory); }
    void copy_to_host(void* host, const void* device, std::size_t bytes) override { std::memcpy(host, device, bytes); }
    void copy_from_host(void* device, const void* host, std::size_t bytes) override { std::memcpy(device, host, bytes); }
    void fill_zero(void* memory, std::size_t bytes) override { std::memset(memory, 0, bytes); }
    void synchronize() override {}
    void convolution_forward(const Tensor&, const Tensor&, const Tensor&, const Convolution&, const Epilogue&) override {
        FAIL("not here");
    }
    void convolution_backward_data(const Tensor&, const Tensor&, const Tensor&, const Convolution&, bool) override { FAIL("not here"); }
    void convolution_backward_filter(const Tensor&, const Tensor&, const Tensor&, const Convolution&) override { FAIL("not here"); }
    void matmul(const Tensor& c, const Tensor& a, Transpose transpose_a, const Tensor& b, Transpose transpose_b, float alpha,
                float beta) override {
        const bool ta = transpose_a == Transpose::yes, tb = transpose_b == Transpose::yes;
        REQUIRE(c.shape.rank() == 3);
        const std::int64_t m = c.dim(1), n = c.dim(2), k = a.dim(ta ? 1 : 2);
        REQUIRE((a.shape == (ta ? Shape{c.dim(0), k, m} : Shape{c.dim(0), m, k})));
        REQUIRE((b.shape == (tb ? Shape{c.dim(0), n, k} : Shape{c.dim(0), k, n})));
        for (std::int64_t s = 0; s < c.dim(0); ++s) {
            const float *x = a.as<float>() + s * m * k, *y = b.as<float>() + s * k * n;
            float* z = c.as<float>() + s * m * n;
            for (std::int64_t i = 0; i < m; ++i)
                for (std::int64_t j = 0; j < n; ++j) {
                    float sum = 0;
                    for (std::int64_t l = 0; l < k; ++l) sum += (ta ? x[l * m + i] : x[i * k + l]) * (tb ? y[j * k + l] : y[l * n + j]);
                    z[i * n + j] = alpha * sum + (beta == 0.0f ? 0.0f : beta * z[i * n + j]);
                }
        }
    }

private:
    Launches launches_;
};

}  // namespace

std::unique_ptr<Backend> make_plain_backend(int teams, int team_size) { return std::make_unique<PlainBackend>(teams, team_size); }

Outcome run(Backend& backend, const Problem& problem, int times, LossForm form) {
    const Shape matrix{problem.rows(), problem.classes};
    const auto elements = static_cast<std::size_t>(matrix.elements());
    Guarded losses(loss_part_count), gradient(elements), student(elements), teacher(problem.teacher.size());
    std::copy(problem.student.begin(), problem.student.end(), student.data());
    std::copy(problem.teacher.begin(), problem.teacher.end(), teacher.data());
    const Tensor teacher_view = problem.teacher.empty() ? Tensor{} : view_of(teacher.data(), matrix);

    DistillationLoss loss(backend, problem.config, form);
    StepArena arena(backend, std::size_t{1} << 20);
    std::vector<float> first_losses, first_gradient;
    for (int repetition = 0; repetition < times; ++repetition) {
        losses.poison();
        gradient.poison();
        arena.begin("test");
        loss.forward_backward(arena, view_of(losses.data(), {loss_part_count}), view_of(gradient.data(), matrix),
                              view_of(student.data(), matrix), teacher_view, view_of(problem.target.data(), {problem.samples}));
        arena.end();
        if (repetition == 0) {
            first_losses = losses.values();
            first_gradient = gradient.values();
        }
        CHECK(same_bits(losses.values(), first_losses));
        CHECK(same_bits(gradient.values(), first_gradient));
    }
    CHECK((losses.intact() && gradient.intact() && student.intact() && teacher.intact()));
    CHECK(same_bits(student.values(), problem.student));
    CHECK(same_bits(teacher.values(), problem.teacher));

    Outcome outcome;
    std::copy(first_losses.begin(), first_losses.end(), outcome.losses.begin());
    outcome.gradient.assign(first_gradient.begin(), first_gradient.end());
    return outcome;
}

double relative_error(std::span<const double> a, std::span<const double> b) {
    REQUIRE(a.size() == b.size());
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    if (norm == 0) return difference == 0 ? 0 : std::numeric_limits<double>::infinity();
    return std::sqrt(difference / norm);
}

}  // namespace mlkd::test
