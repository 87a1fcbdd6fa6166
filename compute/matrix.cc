#include "compute/matrix.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "compute/gemm_library.h"
#include "compute/scheduler.h"
#include "compute/simd/matrix_kernels.h"
#include "compute/simd/operands.h"

namespace pepita::compute {
namespace {

/// Fewer rows are not worth a copy of B by another worker.
constexpr std::size_t kRowsOfAWorkerMin = 112;

Error refused(std::string_view operation, std::string_view name, const std::string& why) {
    return {Code::InvalidArgument, detail::named(operation, name) + " " + why};
}

std::string sizes_of(std::size_t rows, std::size_t columns) {
    return std::to_string(rows) + " by " + std::to_string(columns);
}

/// Elements from the first to the last of the matrix; nullopt if that is no std::size_t.
template <typename T>
std::optional<std::size_t> reach_of(const MatrixView<T>& matrix) {
    if (matrix.rows == 0 || matrix.columns == 0) {
        return 0;
    }
    std::size_t down = 0;
    std::size_t across = 0;
    std::size_t last = 0;
    if (__builtin_mul_overflow(matrix.rows - 1, matrix.row_stride, &down) ||
        __builtin_mul_overflow(matrix.columns - 1, matrix.column_stride, &across) ||
        __builtin_add_overflow(down, across, &last) || last == SIZE_MAX) {
        return std::nullopt;
    }
    return last + 1;
}

template <typename T>
Result<void> check_reach(std::string_view operation, std::string_view name,
                         const MatrixView<T>& matrix) {
    const auto reach = reach_of(matrix);
    if (!reach || *reach > matrix.data.size()) {
        return refused(operation, name,
                       "of " + sizes_of(matrix.rows, matrix.columns) + " with strides " +
                           std::to_string(matrix.row_stride) + " and " +
                           std::to_string(matrix.column_stride) + " reaches beyond its " +
                           std::to_string(matrix.data.size()) + " elements");
    }
    return {};
}

/// Whether the elements are at different places, by the rule that one stride spans the other way.
template <typename T>
bool is_distinct(const MatrixView<T>& matrix) {
    const auto spans = [](std::size_t outer_count, std::size_t outer, std::size_t inner_count,
                          std::size_t inner) {
        return (inner_count <= 1 || inner > 0) &&
               (outer_count <= 1 || outer > (inner_count - 1) * inner);
    };
    return matrix.rows == 0 || matrix.columns == 0 ||
           spans(matrix.rows, matrix.row_stride, matrix.columns, matrix.column_stride) ||
           spans(matrix.columns, matrix.column_stride, matrix.rows, matrix.row_stride);
}

/// Whether both are parts of one larger matrix that have no column of it in common.
template <typename T, typename U>
bool are_beside(const MatrixView<T>& a, const MatrixView<U>& b) {
    const std::size_t stride = a.row_stride;
    if (stride != b.row_stride || a.column_stride != 1 || b.column_stride != 1 || stride == 0) {
        return false;
    }
    // SAFETY: compared as numbers, because they may be parts of different objects.
    const auto from = reinterpret_cast<std::uintptr_t>(a.data.data());
    const auto to = reinterpret_cast<std::uintptr_t>(b.data.data());
    const std::size_t row_size = stride * sizeof(T);
    const std::size_t ahead = (to % row_size + row_size - from % row_size) % row_size;
    return ahead >= a.columns * sizeof(T) && ahead + b.columns * sizeof(T) <= row_size;
}

template <typename T, typename U>
bool do_overlap(const MatrixView<T>& a, const MatrixView<U>& b) {
    const detail::Extent first{.data = a.data.data(), .size = reach_of(a).value_or(0) * sizeof(T)};
    const detail::Extent second{.data = b.data.data(), .size = reach_of(b).value_or(0) * sizeof(T)};
    return first.size != 0 && second.size != 0 && detail::do_overlap(first, second) &&
           !are_beside(a, b);
}

template <typename T>
Result<void> check(const typename DenseOps<T>::Product& product, std::string_view operation) {
    const auto& [a, b, c] = product;
    if (b.rows != a.columns) {
        return refused(operation, "b",
                       "has " + std::to_string(b.rows) + " rows, 'a' has " +
                           std::to_string(a.columns) + " columns");
    }
    if (c.rows != a.rows || c.columns != b.columns) {
        return refused(operation, "c",
                       "is " + sizes_of(c.rows, c.columns) + ", the product is " +
                           sizes_of(a.rows, b.columns));
    }
    TRY(check_reach(operation, "a", a));
    TRY(check_reach(operation, "b", b));
    TRY(check_reach(operation, "c", c));
    if (!is_distinct(c)) {
        return refused(operation, "c", "has an element twice");
    }
    if (do_overlap(c, a)) {
        return refused(operation, "c", "overlaps 'a'");
    }
    if (do_overlap(c, b)) {
        return refused(operation, "c", "overlaps 'b'");
    }
    return {};
}

template <typename T>
detail::Multiplication<T> work_of(const typename DenseOps<T>::Product& product,
                                  Scaling<T> scaling) {
    const auto& [a, b, c] = product;
    return {.m = c.rows,
            .n = c.columns,
            .k = a.columns,
            .a = a.data.data(),
            .a_row_stride = a.row_stride,
            .a_column_stride = a.column_stride,
            .b = b.data.data(),
            .b_row_stride = b.row_stride,
            .b_column_stride = b.column_stride,
            .c = c.data.data(),
            .c_row_stride = c.row_stride,
            .c_column_stride = c.column_stride,
            .alpha = scaling.alpha,
            .beta = scaling.beta};
}

/// The same product with the columns of C next to each other, if its rows were: Cᵀ = Bᵀ·Aᵀ.
template <typename T>
typename DenseOps<T>::Product by_rows(const typename DenseOps<T>::Product& product) {
    if (product.c.column_stride == 1 || product.c.row_stride != 1) {
        return product;
    }
    return {.a = product.b.transposed(), .b = product.a.transposed(), .c = product.c.transposed()};
}

}  // namespace

template <typename T>
void DenseOps<T>::run(const detail::Multiplication<T>& work) const {
    if (work.m == 0 || work.n == 0) {
        return;
    }
    if constexpr (std::is_same_v<T, float>) {
        if (library_ != nullptr && library_->multiply(work)) {
            return;
        }
    }
    kernels_->multiply(work);
}

template <typename T>
Result<void> DenseOps<T>::matmul(In a, In b, Out c, Scaling<T> scaling, Worker* worker) const {
    const Product given{.a = a, .b = b, .c = c};
    TRY(check<T>(given, "matmul"));
    const Product product = by_rows<T>(given);
    const std::size_t rows = product.c.rows;
    if (worker == nullptr || rows <= kRowsOfAWorkerMin) {
        run(work_of(product, scaling));
        return {};
    }
    // In whole tiles, and one piece for each worker: each piece copies all of B.
    const std::size_t tile = kernels_->tile_rows;
    const std::size_t share = std::max(kRowsOfAWorkerMin, rows / worker->scheduler().size() + 1);
    const std::size_t grain = (share + tile - 1) / tile;
    worker->parallel_for(0, (rows + tile - 1) / tile, grain,
                         [&](std::size_t first, std::size_t last) {
                             auto work = work_of(product, scaling);
                             work.m = std::min(last * tile, rows) - first * tile;
                             work.a += first * tile * work.a_row_stride;
                             work.c += first * tile * work.c_row_stride;
                             run(work);
                         });
    return {};
}

template <typename T>
Result<void> DenseOps<T>::matmul_batch(std::span<const Product> products, Scaling<T> scaling,
                                       Worker* worker) const {
    for (std::size_t i = 0; i < products.size(); ++i) {
        TRY(check<T>(products[i], "matmul"), "product ", std::to_string(i));
    }
    const auto run_some = [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
            run(work_of(by_rows<T>(products[i]), scaling));
        }
    };
    if (worker == nullptr) {
        run_some(0, products.size());
    } else {
        worker->parallel_for(0, products.size(), 1, run_some);
    }
    return {};
}

template <typename T>
Result<void> DenseOps<T>::matvec(In a, std::span<const T> x, std::span<T> y) const {
    if (x.size() != a.columns) {
        return refused("matvec", "x",
                       "has " + std::to_string(x.size()) + " elements, 'a' has " +
                           std::to_string(a.columns) + " columns");
    }
    if (y.size() != a.rows) {
        return refused("matvec", "y",
                       "has " + std::to_string(y.size()) + " elements, 'a' has " +
                           std::to_string(a.rows) + " rows");
    }
    TRY(check_reach("matvec", "a", a));
    const MatrixView<T> result{.data = y, .rows = y.size(), .columns = 1, .row_stride = 1};
    const In vector{.data = x, .rows = x.size(), .columns = 1, .row_stride = 1};
    if (do_overlap(result, a)) {
        return refused("matvec", "y", "overlaps 'a'");
    }
    if (do_overlap(result, vector)) {
        return refused("matvec", "y", "overlaps 'x'");
    }
    if (a.column_stride == 1) {
        kernels_->rows_by_vector(a.data.data(), a.row_stride, a.rows, a.columns, x.data(),
                                 y.data());
    } else if (a.row_stride == 1) {
        kernels_->columns_by_vector(a.data.data(), a.column_stride, a.rows, a.columns, x.data(),
                                    y.data());
    } else {
        run(work_of<T>({.a = a, .b = vector, .c = result}, {}));
    }
    return {};
}

template <typename T>
Result<void> DenseOps<T>::transpose(In in, Out out) const {
    if (out.rows != in.columns || out.columns != in.rows) {
        return refused(
            "transpose", "out",
            "is " + sizes_of(out.rows, out.columns) + ", 'in' is " + sizes_of(in.rows, in.columns));
    }
    TRY(check_reach("transpose", "in", in));
    TRY(check_reach("transpose", "out", out));
    if (in.column_stride != 1 || out.column_stride != 1) {
        return refused("transpose", in.column_stride != 1 ? "in" : "out",
                       "has columns that are not next to each other");
    }
    if (!is_distinct(out)) {
        return refused("transpose", "out", "has an element twice");
    }
    if (do_overlap(out, in)) {
        return refused("transpose", "out", "overlaps 'in'");
    }
    kernels_->transpose(in.data.data(), in.row_stride, in.rows, in.columns, out.data.data(),
                        out.row_stride);
    return {};
}

template class DenseOps<float>;
template class DenseOps<double>;

MatrixOps::MatrixOps(const detail::MatrixTable& table) : f32(table.f32), f64(table.f64) {}

MatrixOps::MatrixOps() : MatrixOps(*on(SimdCapabilities::detect().best())) {}

Result<MatrixOps> MatrixOps::on(SimdTarget target) {
    if (!SimdCapabilities::detect().has(target)) {
        return Error(Code::Unsupported, "this processor has no " + std::string(to_string(target)));
    }
    return MatrixOps(detail::matrix_kernels(target));
}

}  // namespace pepita::compute
