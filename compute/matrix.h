#pragma once

#include <cstddef>
#include <span>
#include <type_traits>

#include "compute/simd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {

class GemmLibrary;
class Worker;

/// Elements of memory as a matrix: element (i, j) is data[i·row_stride + j·column_stride].
template <typename T>
struct MatrixView {
    std::span<T> data;
    std::size_t rows;
    std::size_t columns;
    std::size_t row_stride;  // elements
    std::size_t column_stride = 1;

    MatrixView<T> transposed() const {
        return {.data = data,
                .rows = columns,
                .columns = rows,
                .row_stride = column_stride,
                .column_stride = row_stride};
    }
    // NOLINTNEXTLINE(google-explicit-constructor): as std::span<T> converts to std::span<const T>.
    operator MatrixView<const T>() const
        requires(!std::is_const_v<T>)
    {
        return {.data = data,
                .rows = rows,
                .columns = columns,
                .row_stride = row_stride,
                .column_stride = column_stride};
    }
};

/// Rows one after the other.
template <typename T>
MatrixView<T> dense(std::span<T> data, std::size_t rows, std::size_t columns) {
    return {.data = data, .rows = rows, .columns = columns, .row_stride = columns};
}

/// What a product becomes: alpha·A·B + beta·C. With beta 0, C is not read.
template <typename T>
struct Scaling {
    T alpha = 1;
    T beta = 0;
};

namespace detail {
template <typename T>
struct MatrixKernels;
template <typename T>
struct Multiplication;
struct MatrixTable;
}  // namespace detail

/// Operations on matrices of T, which is float or double.
/// Shape: any sizes, 0 included, and any strides; the result has no element twice.
/// Thread: any; those that get a worker split their work among its peers.
/// Errors: InvalidArgument, which names the operand, if sizes do not fit, if a matrix reaches
/// beyond its memory, or if the result overlaps an input. NaN and infinities as IEEE 754.
template <typename T>
class DenseOps {
public:
    using In = MatrixView<const T>;
    using Out = MatrixView<T>;
    struct Product {
        In a;
        In b;
        Out c;
    };

    /// C ← alpha·A·B + beta·C. Each element is off by at most (k + 4)·ε/2·Σ|aᵢ·bᵢ|.
    /// Cost: 2·m·n·k flop; copies A and B once, a block at a time.
    /// Source: Goto and van de Geijn 2008; Van Zee and van de Geijn 2015 (BLIS).
    Result<void> matmul(In a, In b, Out c, Scaling<T> scaling = {}, Worker* worker = nullptr) const;
    /// All of them or, if one has an error, none.
    Result<void> matmul_batch(std::span<const Product> products, Scaling<T> scaling = {},
                              Worker* worker = nullptr) const;
    /// y ← A·x, with the bound of matmul.
    Result<void> matvec(In a, std::span<const T> x, std::span<T> y) const;
    Result<void> transpose(In in, Out out) const;

private:
    friend class MatrixOps;
    explicit DenseOps(const detail::MatrixKernels<T>& kernels) : kernels_(&kernels) {}
    void run(const detail::Multiplication<T>& work) const;

    const detail::MatrixKernels<T>* kernels_;
    const GemmLibrary* library_ = nullptr;
};

/// The kernels of one target: `MatrixOps().f32.matmul(a, b, c)`.
class MatrixOps {
public:
    /// On the best target of this processor.
    MatrixOps();
    /// Errors: Unsupported if this processor lacks the target.
    static Result<MatrixOps> on(SimdTarget target);
    /// Has products of float computed by `library`, where it can. Borrows it.
    void use(const GemmLibrary& library) { f32.library_ = &library; }

    DenseOps<float> f32;
    DenseOps<double> f64;

private:
    explicit MatrixOps(const detail::MatrixTable& table);
};

}  // namespace pepita::compute
