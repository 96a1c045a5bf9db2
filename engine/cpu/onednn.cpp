#include "engine/cpu/onednn.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cstdlib>

#include "engine/backend.h"
#include "engine/error.h"
#include "engine/machine/available_memory.h"

namespace mlkd {
namespace cpu {

void* allocate_host_memory(std::size_t bytes) {
    constexpr std::size_t huge_page = std::size_t{2} << 20;
    const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
    const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
    require_memory(bytes);
    // A size within `alignment` of the largest one wraps to a smaller number.
    void* memory = rounded < bytes ? nullptr : std::aligned_alloc(alignment, rounded == 0 ? alignment : rounded);
    if (memory == nullptr)
        throw Error(
            fmt::format("out of memory: cannot allocate {:.1f} MiB; a smaller batch needs less", static_cast<double>(bytes) / (1 << 20)));
    if (alignment == huge_page) madvise(memory, rounded, MADV_HUGEPAGE);  // a hint: refusal changes nothing but speed
    return memory;
}

void HostMemoryDeleter::operator()(std::byte* memory) const noexcept { std::free(memory); }

std::byte* Workspace::reserve(std::size_t bytes) {
    if (bytes > bytes_) {
        memory_.reset();
        bytes_ = 0;
        memory_.reset(static_cast<std::byte*>(allocate_host_memory(bytes)));
        bytes_ = bytes;
    }
    return memory_.get();
}

void with_onednn_errors(const std::string& what, const std::function<void()>& work) {
    try {
        work();
    } catch (const dnnl::error& error) {
        if (error.status == dnnl_out_of_memory) throw Error(what + ": out of memory; a smaller batch needs less");
        throw Error(what + ": oneDNN: " + error.message);
    }
}

std::string onednn_version() {
    const dnnl_version_t* version = dnnl::version();
    return fmt::format("{}.{}.{}", version->major, version->minor, version->patch);
}

std::string instruction_set() {
    switch (dnnl::get_effective_cpu_isa()) {
        case dnnl::cpu_isa::sse41:
            return "sse41";
        case dnnl::cpu_isa::avx:
            return "avx";
        case dnnl::cpu_isa::avx2:
            return "avx2";
        case dnnl::cpu_isa::avx2_vnni:
            return "avx2_vnni";
        case dnnl::cpu_isa::avx512_core:
            return "avx512_core";
        case dnnl::cpu_isa::avx512_core_vnni:
            return "avx512_core_vnni";
        case dnnl::cpu_isa::avx512_core_bf16:
            return "avx512_core_bf16";
        case dnnl::cpu_isa::avx512_core_amx:
            return "avx512_core_amx";
        default:
            return "plain";
    }
}

}  // namespace cpu

std::string cpu_bfloat16_obstacle() {
    const std::string used = cpu::instruction_set();
    if (used.starts_with("avx512_core")) return "";
    return fmt::format("precision bf16: this processor has no AVX-512 (oneDNN {} uses {}); use fp32", cpu::onednn_version(), used);
}

}  // namespace mlkd
