#include "compute/simd.h"

#include <cstdint>
#include <string>

#include "compute/simd/operands.h"
#include "compute/simd/vector_kernels.h"

namespace pepita::compute {
namespace {

using detail::Store;

/// A vector of an operation, and what the operation calls it.
template <typename T>
struct Operand {
    std::string_view name;
    std::span<T> values;
};

template <typename T>
Operand<T> operand(std::string_view name, std::span<T> values) {
    return {.name = name, .values = values};
}

template <typename T, typename U>
bool is_in_place(std::span<T> out, std::span<U> in) {
    return static_cast<const void*>(out.data()) == static_cast<const void*>(in.data()) &&
           out.size_bytes() == in.size_bytes();
}

template <typename T, typename U>
bool do_overlap(std::span<T> out, std::span<U> in) {
    return detail::do_overlap({.data = in.data(), .size = in.size_bytes()},
                              {.data = out.data(), .size = out.size_bytes()});
}

/// Why `in` does not fit.
template <typename T, typename U>
Result<void> explain(std::string_view operation, const Operand<T>& out, const Operand<U>& in) {
    if (in.values.size() != out.values.size()) {
        return Error(Code::InvalidArgument, detail::named(operation, in.name) + " has " +
                                                std::to_string(in.values.size()) + " elements, '" +
                                                std::string(out.name) + "' has " +
                                                std::to_string(out.values.size()));
    }
    if (do_overlap(out.values, in.values) && !is_in_place(out.values, in.values)) {
        return Error(Code::InvalidArgument, detail::named(operation, out.name) + " overlaps '" +
                                                std::string(in.name) +
                                                "' and is not the same memory");
    }
    return {};
}

/// Cheap if all fit: a call with vectors of the first cache takes some 50 ns.
template <typename T, typename... Inputs>
Result<void> check(std::string_view operation, const Operand<T>& out, const Inputs&... inputs) {
    const auto fits = [&](const auto& in) {
        return in.values.size() == out.values.size() &&
               (!do_overlap(out.values, in.values) || is_in_place(out.values, in.values));
    };
    if ((fits(inputs) && ...)) [[likely]] {
        return {};
    }
    Result<void> reason;
    (void)((reason = explain(operation, out, inputs), reason.has_value()) && ...);
    return reason;
}

/// Streamed stores pay if the caches cannot hold all operands, and if the lines of `out` are not
/// read anyway.
template <typename T, typename... Inputs>
Store store_for(std::size_t streamed_min, std::span<T> out, Inputs... inputs) {
    const std::size_t bytes = out.size_bytes() * (1 + sizeof...(inputs));
    const bool in_place = (is_in_place(out, inputs) || ...);
    return bytes >= streamed_min && !in_place ? Store::Streamed : Store::Cached;
}

}  // namespace

template <typename T>
Result<void> VectorOps<T>::add(In a, In b, Out out) const {
    TRY(check("add", operand("out", out), operand("a", a), operand("b", b)));
    kernels_->add(a.data(), b.data(), out.data(), out.size(), store_for(streamed_min_, out, a, b));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::sub(In a, In b, Out out) const {
    TRY(check("sub", operand("out", out), operand("a", a), operand("b", b)));
    kernels_->sub(a.data(), b.data(), out.data(), out.size(), store_for(streamed_min_, out, a, b));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::mul(In a, In b, Out out) const {
    TRY(check("mul", operand("out", out), operand("a", a), operand("b", b)));
    kernels_->mul(a.data(), b.data(), out.data(), out.size(), store_for(streamed_min_, out, a, b));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::div(In a, In b, Out out) const {
    TRY(check("div", operand("out", out), operand("a", a), operand("b", b)));
    kernels_->div(a.data(), b.data(), out.data(), out.size(), store_for(streamed_min_, out, a, b));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::fma(In a, In b, In c, Out out) const {
    TRY(check("fma", operand("out", out), operand("a", a), operand("b", b), operand("c", c)));
    kernels_->fma(a.data(), b.data(), c.data(), out.data(), out.size(),
                  store_for(streamed_min_, out, a, b, c));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::axpy(T a, In x, Out y) const {
    TRY(check("axpy", operand("y", y), operand("x", x)));
    kernels_->axpy(a, x.data(), y.data(), y.size());
    return {};
}

template <typename T>
Result<void> VectorOps<T>::scale(T factor, In in, Out out) const {
    TRY(check("scale", operand("out", out), operand("in", in)));
    kernels_->scale(factor, in.data(), out.data(), out.size(), store_for(streamed_min_, out, in));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::relu(In in, Out out) const {
    TRY(check("relu", operand("out", out), operand("in", in)));
    kernels_->relu(in.data(), out.data(), out.size(), store_for(streamed_min_, out, in));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::exp(In in, Out out) const {
    TRY(check("exp", operand("out", out), operand("in", in)));
    kernels_->exp(in.data(), out.data(), out.size(), store_for(streamed_min_, out, in));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::sigmoid(In in, Out out) const {
    TRY(check("sigmoid", operand("out", out), operand("in", in)));
    kernels_->sigmoid(in.data(), out.data(), out.size(), store_for(streamed_min_, out, in));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::tanh(In in, Out out) const {
    TRY(check("tanh", operand("out", out), operand("in", in)));
    kernels_->tanh(in.data(), out.data(), out.size(), store_for(streamed_min_, out, in));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::softmax(In in, Out out) const {
    TRY(check("softmax", operand("out", out), operand("in", in)));
    if (!in.empty()) {
        kernels_->softmax(in.data(), out.data(), out.size());
    }
    return {};
}

template <typename T>
Result<T> VectorOps<T>::dot(In a, In b) const {
    if (a.size() != b.size()) {
        return Error(Code::InvalidArgument, "dot: 'a' has " + std::to_string(a.size()) +
                                                " elements, 'b' has " + std::to_string(b.size()));
    }
    return kernels_->dot(a.data(), b.data(), a.size());
}

template <typename T>
T VectorOps<T>::sum(In in) const {
    return kernels_->sum(in.data(), in.size());
}

template <typename T>
Result<T> VectorOps<T>::min(In in) const {
    if (in.empty()) {
        return Error(Code::InvalidArgument, "min: 'in' is empty");
    }
    return kernels_->min(in.data(), in.size());
}

template <typename T>
Result<T> VectorOps<T>::max(In in) const {
    if (in.empty()) {
        return Error(Code::InvalidArgument, "max: 'in' is empty");
    }
    return kernels_->max(in.data(), in.size());
}

template <typename T>
Result<std::size_t> VectorOps<T>::argmax(In in) const {
    if (in.empty()) {
        return Error(Code::InvalidArgument, "argmax: 'in' is empty");
    }
    return kernels_->argmax(in.data(), in.size());
}

template class VectorOps<float>;
template class VectorOps<double>;

SimdOps::SimdOps(SimdTarget target, std::size_t streamed_min)
    : kernels_(&detail::simd_kernels(target)),
      target_(target),
      f32(kernels_->f32, streamed_min),
      f64(kernels_->f64, streamed_min) {}

SimdOps::SimdOps() : SimdOps(*on(SimdCapabilities::detect().best())) {}

Result<SimdOps> SimdOps::on(SimdTarget target) {
    const SimdCapabilities capabilities = SimdCapabilities::detect();
    if (!capabilities.has(target)) {
        return Error(Code::Unsupported, "this processor has no " + std::string(to_string(target)));
    }
    return SimdOps(target, capabilities.last_cache.value());
}

Result<void> SimdOps::to_f16(std::span<const float> in, std::span<F16> out) const {
    TRY(check("to_f16", operand("out", out), operand("in", in)));
    // SAFETY: F16 is one std::uint16_t.
    kernels_->to_f16(in.data(), reinterpret_cast<std::uint16_t*>(out.data()), out.size());
    return {};
}

Result<void> SimdOps::to_bf16(std::span<const float> in, std::span<Bf16> out) const {
    TRY(check("to_bf16", operand("out", out), operand("in", in)));
    // SAFETY: Bf16 is one std::uint16_t.
    kernels_->to_bf16(in.data(), reinterpret_cast<std::uint16_t*>(out.data()), out.size());
    return {};
}

Result<void> SimdOps::from_f16(std::span<const F16> in, std::span<float> out) const {
    TRY(check("from_f16", operand("out", out), operand("in", in)));
    // SAFETY: F16 is one std::uint16_t.
    kernels_->from_f16(reinterpret_cast<const std::uint16_t*>(in.data()), out.data(), out.size());
    return {};
}

Result<void> SimdOps::from_bf16(std::span<const Bf16> in, std::span<float> out) const {
    TRY(check("from_bf16", operand("out", out), operand("in", in)));
    // SAFETY: Bf16 is one std::uint16_t.
    kernels_->from_bf16(reinterpret_cast<const std::uint16_t*>(in.data()), out.data(), out.size());
    return {};
}

}  // namespace pepita::compute
