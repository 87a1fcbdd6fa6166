#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <utility>

#include "compute/simd.h"
#include "kernel-abi/sys/file.h"

namespace pepita::compute {
namespace {

constexpr Bytes kLastCacheAssumed = 8_MiB;

Bytes detect_last_cache() {
    // Linux counts the share of this processor's group; CPUID on AMD and sysconf() count the
    // socket.
    for (int level = 4; level >= 0; --level) {
        const auto text =
            read_file("/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(level) + "/size");
        std::uint64_t kibibytes = 0;
        if (text && std::from_chars(text->data(), text->data() + text->size(), kibibytes).ec ==
                        std::errc()) {
            return Bytes(kibibytes * 1024);
        }
    }
    return kLastCacheAssumed;
}

/// What HWY_SSE4, HWY_AVX2 and HWY_AVX3 let the compiler use.
std::vector<SimdTarget> detect_targets() {
    __builtin_cpu_init();
    std::vector<SimdTarget> targets{SimdTarget::Scalar};
    if (!__builtin_cpu_supports("ssse3") || !__builtin_cpu_supports("sse4.2") ||
        !__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("aes")) {
        return targets;
    }
    targets.push_back(SimdTarget::Sse4);
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") ||
        !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("f16c")) {
        return targets;
    }
    targets.push_back(SimdTarget::Avx2);
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw")) {
        targets.push_back(SimdTarget::Avx512);
    }
    return targets;
}

}  // namespace

std::string_view to_string(SimdTarget target) {
    constexpr std::array<std::string_view, 4> names{"scalar", "SSE4", "AVX2", "AVX-512"};
    return names.at(std::to_underlying(target));
}

SimdCapabilities SimdCapabilities::detect() {
    return {.targets = detect_targets(), .last_cache = detect_last_cache()};
}

bool SimdCapabilities::has(SimdTarget target) const {
    return std::find(targets.begin(), targets.end(), target) != targets.end();
}

std::size_t SimdCapabilities::best_vector_bits() const {
    switch (best()) {
        case SimdTarget::Scalar:
            return 64;
        case SimdTarget::Sse4:
            return 128;
        case SimdTarget::Avx2:
            return 256;
        case SimdTarget::Avx512:
            return 512;
    }
    std::unreachable();
}

}  // namespace pepita::compute
