#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::compute {

/// The instruction sets that the kernels are compiled for, the widest last. Scalar is plain x86-64:
/// Debian's Highway has no SSE2 vectors.
enum class SimdTarget : std::uint8_t { Scalar, Sse4, Avx2, Avx512 };
std::string_view to_string(SimdTarget target);

/// What this processor offers to the kernels.
struct SimdCapabilities {
    std::vector<SimdTarget> targets;  // the first is Scalar
    /// Of the last cache, as much as this processor's group shares. Results are written past the
    /// caches if the operands together are larger.
    Bytes last_cache;

    static SimdCapabilities detect();
    SimdTarget best() const { return targets.back(); }
    bool has(SimdTarget target) const;
    std::size_t best_vector_bits() const;
};

/// IEEE 754 binary16, and the upper half of a binary32.
struct F16 {
    std::uint16_t bits;
    friend bool operator==(F16, F16) = default;
};
struct Bf16 {
    std::uint16_t bits;
    friend bool operator==(Bf16, Bf16) = default;
};

namespace detail {
template <typename T>
struct VectorKernels;
struct SimdKernels;
}  // namespace detail

/// Operations on vectors of T, which is float or double.
/// Shape: any alignment and any length, 0 included. `out` is disjoint from an input or is the same
/// memory.
/// Thread: any.
/// Errors: InvalidArgument, which names the operand, if lengths differ, or if operands overlap in
/// part. NaN and infinities as IEEE 754; denormals are kept.
template <typename T>
class VectorOps {
public:
    using In = std::span<const T>;
    using Out = std::span<T>;

    // Correctly rounded.
    Result<void> add(In a, In b, Out out) const;
    Result<void> sub(In a, In b, Out out) const;
    Result<void> mul(In a, In b, Out out) const;
    Result<void> div(In a, In b, Out out) const;
    Result<void> scale(T factor, In in, Out out) const;
    /// The larger of 0 and the element; NaN stays.
    Result<void> relu(In in, Out out) const;
    /// a·b + c. Rounded once on AVX2 and AVX-512, twice on SSE.
    Result<void> fma(In a, In b, In c, Out out) const;
    /// y ← a·x + y, rounded as fma is.
    Result<void> axpy(T a, In x, Out y) const;

    /// The most that a result is off, in units in its last place.
    static constexpr double kExpUlp = 2;
    static constexpr double kSigmoidUlp = 4;
    static constexpr double kTanhUlp = 5;
    Result<void> exp(In in, Out out) const;
    Result<void> sigmoid(In in, Out out) const;
    Result<void> tanh(In in, Out out) const;
    /// exp(x - max) / Σ exp(x - max). An empty vector stays empty. Off by up to 6 + |x - max|
    /// units in the last place, as long as the sum is exact; see sum() for that.
    Result<void> softmax(In in, Out out) const;

    /// Off by at most (n / 8 + 16) · ε/2 · Σ|aᵢ·bᵢ|. The order of additions depends on the
    /// target and the length alone.
    Result<T> dot(In a, In b) const;
    T sum(In in) const;
    /// NaN if an element is. Errors: InvalidArgument for an empty vector.
    Result<T> min(In in) const;
    Result<T> max(In in) const;
    /// The first index of the largest element, or of the first NaN.
    Result<std::size_t> argmax(In in) const;

private:
    friend class SimdOps;
    VectorOps(const detail::VectorKernels<T>& kernels, std::size_t streamed_min)
        : kernels_(&kernels), streamed_min_(streamed_min) {}

    const detail::VectorKernels<T>* kernels_;
    std::size_t streamed_min_;  // bytes
};

/// The kernels of one target: `SimdOps().f32.add(a, b, sum)`.
class SimdOps {
    const detail::SimdKernels* kernels_;
    SimdTarget target_;

public:
    /// On the best target of this processor.
    SimdOps();
    /// Errors: Unsupported if this processor lacks the target.
    static Result<SimdOps> on(SimdTarget target);

    SimdTarget target() const { return target_; }
    VectorOps<float> f32;
    VectorOps<double> f64;

    /// To the nearest, ties to even; NaN keeps its sign and the upper part of its payload, quiet.
    Result<void> to_f16(std::span<const float> in, std::span<F16> out) const;
    Result<void> to_bf16(std::span<const float> in, std::span<Bf16> out) const;
    /// Exact.
    Result<void> from_f16(std::span<const F16> in, std::span<float> out) const;
    Result<void> from_bf16(std::span<const Bf16> in, std::span<float> out) const;

private:
    SimdOps(SimdTarget target, std::size_t streamed_min);
};

}  // namespace pepita::compute
