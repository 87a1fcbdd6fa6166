#pragma once

#include <cstddef>

#include "compute/simd.h"

namespace pepita::compute::detail {

/// C ← alpha·A·B + beta·C. C's columns are next to each other if `c_column_stride` is 1: the fast
/// case.
template <typename T>
struct Multiplication {
    std::size_t m;
    std::size_t n;
    std::size_t k;
    const T* a;
    std::size_t a_row_stride;
    std::size_t a_column_stride;
    const T* b;
    std::size_t b_row_stride;
    std::size_t b_column_stride;
    T* c;
    std::size_t c_row_stride;
    std::size_t c_column_stride;
    T alpha;
    T beta;
};

/// The kernels of one target for one type. They check nothing.
template <typename T>
struct MatrixKernels {
    /// Rows of C that are computed at once.
    std::size_t tile_rows;
    void (*multiply)(const Multiplication<T>& work);
    /// y ← A·x for rows that are `stride` apart.
    void (*rows_by_vector)(const T* a, std::size_t stride, std::size_t rows, std::size_t columns,
                           const T* x, T* y);
    /// y ← A·x for columns that are `stride` apart.
    void (*columns_by_vector)(const T* a, std::size_t stride, std::size_t rows, std::size_t columns,
                              const T* x, T* y);
    /// Element (i, j) of `in` becomes element (j, i) of `out`; rows are strides apart.
    void (*transpose)(const T* in, std::size_t in_stride, std::size_t rows, std::size_t columns,
                      T* out, std::size_t out_stride);
};

struct MatrixTable {
    MatrixKernels<float> f32;
    MatrixKernels<double> f64;
};

/// The table of a target that this processor has.
const MatrixTable& matrix_kernels(SimdTarget target);

}  // namespace pepita::compute::detail
