#include "apps/device.h"

#include <fmt/format.h>

#include <charconv>
#include <optional>
#include <string_view>

#include "apps/config/foreign_names.h"
#include "apps/output.h"
#include "engine/error.h"
#include "engine/machine/gpu_present.h"

namespace mlkd {

namespace {

// What another code base's name is here, behind a colon; "" for a name that is not known elsewhere.
std::string meaning(const char* key, const std::string& name) {
    const std::string foreign = foreign_name(key, name);
    return foreign.empty() ? foreign : ": " + foreign;
}

// The options of a GPU where the device may be one, else no value. Throws UsageError for what is neither.
std::optional<CudaOptions> cuda_options(const DeviceOptions& options) {
    CudaOptions cuda;
    if (!options.deterministic) cuda.plan_file = options.plan_file;
    cuda.nondeterministic = options.nondeterministic;
    cuda.timed = !options.deterministic;
    const std::string& precision = options.precision;
    if (precision != "auto" && precision != "fp32" && precision != "tf32" && precision != "bf16")
        throw UsageError(fmt::format("unknown precision '{}'{}; allowed: auto, fp32, tf32 or bf16", precision, meaning("precision", precision)));
    if (options.products != "fp32" && options.products != "tf32")
        throw UsageError(fmt::format("unknown precision '{}' of products: fp32 or tf32", options.products));
    cuda.matrix_products = options.products == "tf32" ? MathMode::tf32 : MathMode::fp32;
    cuda.convolutions = precision == "fp32" ? MathMode::fp32 : MathMode::tf32;
    if (options.device == "cpu") return std::nullopt;
    if (options.device == "cuda" || options.device == "auto") return cuda;
    constexpr std::string_view prefix = "cuda:";
    const char* const end = options.device.data() + options.device.size();
    if (options.device.starts_with(prefix)) {
        const auto [rest, error] = std::from_chars(options.device.data() + prefix.size(), end, cuda.ordinal);
        if (error == std::errc{} && rest == end && cuda.ordinal >= 0) return cuda;
    }
    throw UsageError(fmt::format("unknown device '{}'{}; allowed: cpu, cuda, cuda:N or auto", options.device, meaning("device", options.device)));
}

}  // namespace

std::unique_ptr<Backend> make_backend(const DeviceOptions& options) {
    if (options.threads < 0) throw UsageError(fmt::format("--threads {}: must be 0 (all cores) or more", options.threads));
    if (options.deterministic && options.nondeterministic) throw UsageError("--deterministic excludes --nondeterministic");
    if (const auto cuda = cuda_options(options)) {
        std::string why;
        if (auto backend = make_cuda_backend(*cuda, why)) return backend;
        if (options.device != "auto") throw Error(fmt::format("--device {}: {}", options.device, why));
        if (gpu_present()) print_error(fmt::format("--device auto: takes the CPU, although there is a GPU: {}", why));
    }
    if (options.precision == "tf32") {
        if (options.device == "cpu") throw UsageError("--precision tf32 is a GPU's; use fp32, bf16 or auto");
        print_error("precision tf32 is a GPU's: the CPU computes in fp32");
    }
    if (options.precision == "bf16")
        if (const std::string obstacle = cpu_bfloat16_obstacle(); !obstacle.empty()) throw Error(obstacle);
    auto backend = options.deterministic ? make_cpu_backend({options.threads, "direct", ""})
                                         : make_cpu_backend({options.threads, options.convolution, options.plan_file});
    // Many more than there are cores are a slip of the pen, and OpenMP crashes where their stacks do not fit.
    constexpr int most_threads = 1024;
    if (backend->threads() > most_threads)
        throw UsageError(fmt::format("{} {}: at most {} threads", options.threads > 0 ? "--threads" : "OMP_NUM_THREADS", backend->threads(),
                                     most_threads));
    return backend;
}

std::string resolved_precision(const std::string& precision, const Backend& backend) {
    if (precision == "bf16") return precision;
    if (backend.stream().device == DeviceKind::cpu) return "fp32";
    return precision == "auto" ? "tf32" : precision;
}

DType network_type(const std::string& precision) { return precision == "bf16" ? DType::bf16 : DType::f32; }

}  // namespace mlkd
