#include "compute/simd.h"

#include <algorithm>
#include <cstdint>
#include <string>

#include "compute/simd/operands.h"
#include "compute/simd/vector_kernels.h"

namespace pepita::compute {
namespace {

using detail::Store;

/// An input of an operation, and what the operation calls it.
struct Operand {
    std::string_view name;
    const void* data;
    std::size_t count;
    std::size_t size;  // bytes
};

template <typename T>
Operand operand(std::string_view name, std::span<T> values) {
    return {
        .name = name, .data = values.data(), .count = values.size(), .size = values.size_bytes()};
}

Result<void> check(std::string_view operation, const Operand& out,
                   std::initializer_list<Operand> inputs) {
    for (const Operand& in : inputs) {
        if (in.count != out.count) {
            return Error(Code::InvalidArgument, detail::named(operation, in.name) + " has " +
                                                    std::to_string(in.count) + " elements, '" +
                                                    std::string(out.name) + "' has " +
                                                    std::to_string(out.count));
        }
        const bool in_place = in.data == out.data && in.size == out.size;
        if (!in_place && detail::do_overlap({.data = in.data, .size = in.size},
                                            {.data = out.data, .size = out.size})) {
            return Error(Code::InvalidArgument, detail::named(operation, out.name) + " overlaps '" +
                                                    std::string(in.name) +
                                                    "' and is not the same memory");
        }
    }
    return {};
}

/// Streamed stores pay if the caches cannot hold all operands, and if the lines of `out` are not
/// read anyway.
Store store_for(const Operand& out, std::initializer_list<Operand> inputs,
                std::size_t streamed_min) {
    std::size_t bytes = out.size;
    for (const Operand& in : inputs) {
        if (in.data == out.data) {
            return Store::Cached;
        }
        bytes += in.size;
    }
    return bytes >= streamed_min ? Store::Streamed : Store::Cached;
}

}  // namespace

template <typename T>
Result<void> VectorOps<T>::add(In a, In b, Out out) const {
    const auto inputs = {operand("a", a), operand("b", b)};
    TRY(check("add", operand("out", out), inputs));
    kernels_->add(a.data(), b.data(), out.data(), out.size(),
                  store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::sub(In a, In b, Out out) const {
    const auto inputs = {operand("a", a), operand("b", b)};
    TRY(check("sub", operand("out", out), inputs));
    kernels_->sub(a.data(), b.data(), out.data(), out.size(),
                  store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::mul(In a, In b, Out out) const {
    const auto inputs = {operand("a", a), operand("b", b)};
    TRY(check("mul", operand("out", out), inputs));
    kernels_->mul(a.data(), b.data(), out.data(), out.size(),
                  store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::div(In a, In b, Out out) const {
    const auto inputs = {operand("a", a), operand("b", b)};
    TRY(check("div", operand("out", out), inputs));
    kernels_->div(a.data(), b.data(), out.data(), out.size(),
                  store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::fma(In a, In b, In c, Out out) const {
    const auto inputs = {operand("a", a), operand("b", b), operand("c", c)};
    TRY(check("fma", operand("out", out), inputs));
    kernels_->fma(a.data(), b.data(), c.data(), out.data(), out.size(),
                  store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::axpy(T a, In x, Out y) const {
    TRY(check("axpy", operand("y", y), {operand("x", x)}));
    kernels_->axpy(a, x.data(), y.data(), y.size());
    return {};
}

template <typename T>
Result<void> VectorOps<T>::scale(T factor, In in, Out out) const {
    const auto inputs = {operand("in", in)};
    TRY(check("scale", operand("out", out), inputs));
    kernels_->scale(factor, in.data(), out.data(), out.size(),
                    store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::relu(In in, Out out) const {
    const auto inputs = {operand("in", in)};
    TRY(check("relu", operand("out", out), inputs));
    kernels_->relu(in.data(), out.data(), out.size(),
                   store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::exp(In in, Out out) const {
    const auto inputs = {operand("in", in)};
    TRY(check("exp", operand("out", out), inputs));
    kernels_->exp(in.data(), out.data(), out.size(),
                  store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::sigmoid(In in, Out out) const {
    const auto inputs = {operand("in", in)};
    TRY(check("sigmoid", operand("out", out), inputs));
    kernels_->sigmoid(in.data(), out.data(), out.size(),
                      store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::tanh(In in, Out out) const {
    const auto inputs = {operand("in", in)};
    TRY(check("tanh", operand("out", out), inputs));
    kernels_->tanh(in.data(), out.data(), out.size(),
                   store_for(operand("out", out), inputs, streamed_min_));
    return {};
}

template <typename T>
Result<void> VectorOps<T>::softmax(In in, Out out) const {
    TRY(check("softmax", operand("out", out), {operand("in", in)}));
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
    TRY(check("to_f16", operand("out", out), {operand("in", in)}));
    // SAFETY: F16 is one std::uint16_t.
    kernels_->to_f16(in.data(), reinterpret_cast<std::uint16_t*>(out.data()), out.size());
    return {};
}

Result<void> SimdOps::to_bf16(std::span<const float> in, std::span<Bf16> out) const {
    TRY(check("to_bf16", operand("out", out), {operand("in", in)}));
    // SAFETY: Bf16 is one std::uint16_t.
    kernels_->to_bf16(in.data(), reinterpret_cast<std::uint16_t*>(out.data()), out.size());
    return {};
}

Result<void> SimdOps::from_f16(std::span<const F16> in, std::span<float> out) const {
    TRY(check("from_f16", operand("out", out), {operand("in", in)}));
    // SAFETY: F16 is one std::uint16_t.
    kernels_->from_f16(reinterpret_cast<const std::uint16_t*>(in.data()), out.data(), out.size());
    return {};
}

Result<void> SimdOps::from_bf16(std::span<const Bf16> in, std::span<float> out) const {
    TRY(check("from_bf16", operand("out", out), {operand("in", in)}));
    // SAFETY: Bf16 is one std::uint16_t.
    kernels_->from_bf16(reinterpret_cast<const std::uint16_t*>(in.data()), out.data(), out.size());
    return {};
}

}  // namespace pepita::compute
