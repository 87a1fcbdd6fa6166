#pragma once

#include <cstddef>
#include <cstdint>

#include "compute/simd.h"

namespace pepita::compute::detail {

/// Whether results are written past the caches.
enum class Store : std::uint8_t { Cached, Streamed };

/// The kernels of one target for one type. They check nothing.
template <typename T>
struct VectorKernels {
    using Unary = void (*)(const T* in, T* out, std::size_t n, Store store);
    using Binary = void (*)(const T* a, const T* b, T* out, std::size_t n, Store store);
    using Reduction = T (*)(const T* in, std::size_t n);

    Binary add;
    Binary sub;
    Binary mul;
    Binary div;
    void (*fma)(const T* a, const T* b, const T* c, T* out, std::size_t n, Store store);
    void (*axpy)(T a, const T* x, T* y, std::size_t n);
    void (*scale)(T factor, const T* in, T* out, std::size_t n, Store store);
    Unary relu;
    Unary exp;
    Unary sigmoid;
    Unary tanh;
    void (*softmax)(const T* in, T* out, std::size_t n);
    T (*dot)(const T* a, const T* b, std::size_t n);
    Reduction sum;
    Reduction min;
    Reduction max;
    std::size_t (*argmax)(const T* in, std::size_t n);
};

struct SimdKernels {
    VectorKernels<float> f32;
    VectorKernels<double> f64;
    void (*to_f16)(const float* in, std::uint16_t* out, std::size_t n);
    void (*to_bf16)(const float* in, std::uint16_t* out, std::size_t n);
    void (*from_f16)(const std::uint16_t* in, float* out, std::size_t n);
    void (*from_bf16)(const std::uint16_t* in, float* out, std::size_t n);
};

/// The table of a target that this processor has.
const SimdKernels& simd_kernels(SimdTarget target);

}  // namespace pepita::compute::detail
