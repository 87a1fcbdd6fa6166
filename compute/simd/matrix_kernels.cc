// The product of matrices as BLIS does it (Van Zee and van de Geijn 2015). A tile of C is kept in
// registers while a strip of A (tile rows) and a strip of B (two vectors of columns) pass by. The
// strips come from copies: a block of B that fits the last cache, a block of A that fits the
// second.
//
// A strip of A keeps its rows, a fixed stride apart: the tile broadcasts single elements of it, and
// a row-major A is copied by memcpy. A strip of B has its columns next to each other.

#include "compute/simd/matrix_kernels.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "compute/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/simd/matrix_kernels.cc"  // NOLINT(bugprone-macro-parentheses)
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pepita::compute::detail::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
using Tag = hn::ScalableTag<T>;
template <typename T>
using Vec = hn::Vec<Tag<T>>;

/// The sizes of blocks, in elements.
template <typename T>
struct Blocks {
    static constexpr std::size_t kLanes = hn::MaxLanes(Tag<T>());
#if HWY_TARGET == HWY_AVX3
    static constexpr std::size_t kTileRows = 14;  // 28 sums, 2 vectors of B, 1 of A, of 32
#elif HWY_TARGET == HWY_SCALAR
    static constexpr std::size_t kTileRows = 4;
#else
    static constexpr std::size_t kTileRows = 6;  // 12 sums, 2 vectors of B, 1 of A, of 16
#endif
    static constexpr std::size_t kTileColumns = 2 * kLanes;
    static constexpr std::size_t kDepth = 1024 / sizeof(T);
    static constexpr std::size_t kStripStride = kDepth + 64 / sizeof(T);  // rows in different sets
    static constexpr std::size_t kRows = 448 / kTileRows * kTileRows;
    static constexpr std::size_t kColumns = 3072;
};

struct alignas(64) CacheLine {
    std::byte bytes[64];
};
template <typename T>
std::unique_ptr<CacheLine[]> allocate(std::size_t count) {
    return std::make_unique_for_overwrite<CacheLine[]>((count * sizeof(T) + 63) / 64);
}
template <typename T>
T* elements(const std::unique_ptr<CacheLine[]>& lines) {
    return reinterpret_cast<T*>(lines.get());  // SAFETY: fresh, aligned memory of that many T
}

constexpr std::size_t round_up(std::size_t value, std::size_t unit) {
    return (value + unit - 1) / unit * unit;
}

template <typename T>
void transpose(const T* in, std::size_t in_stride, std::size_t rows, std::size_t columns, T* out,
               std::size_t out_stride) {
    const Tag<T> d;
    constexpr std::size_t lane_count = hn::MaxLanes(d);
    HWY_ALIGN T mixed[4 * lane_count];
    std::size_t row = 0;
    for (; row + 4 <= rows; row += 4) {
        const T* from = in + row * in_stride;
        std::size_t column = 0;
        for (; column + lane_count <= columns; column += lane_count) {
            hn::StoreInterleaved4(hn::LoadU(d, from + column),
                                  hn::LoadU(d, from + in_stride + column),
                                  hn::LoadU(d, from + 2 * in_stride + column),
                                  hn::LoadU(d, from + 3 * in_stride + column), d, mixed);
            for (std::size_t i = 0; i < lane_count; ++i) {
                std::memcpy(out + (column + i) * out_stride + row, mixed + 4 * i, 4 * sizeof(T));
            }
        }
        for (; column < columns; ++column) {
            for (std::size_t i = 0; i < 4; ++i) {
                out[column * out_stride + row + i] = from[i * in_stride + column];
            }
        }
    }
    for (; row < rows; ++row) {
        for (std::size_t column = 0; column < columns; ++column) {
            out[column * out_stride + row] = in[row * in_stride + column];
        }
    }
}

/// Strips of A: `rows` by `depth` elements, rows that are missing in the last strip as zeros.
template <typename T>
void copy_a(const Multiplication<T>& work, std::size_t first_row, std::size_t rows,
            std::size_t first_depth, std::size_t depth, T* to) {
    using B = Blocks<T>;
    const T* from = work.a + first_row * work.a_row_stride + first_depth * work.a_column_stride;
    for (std::size_t row = 0; row < rows; ++row, to += B::kStripStride) {
        const T* source = from + row * work.a_row_stride;
        if (work.a_column_stride == 1) {
            std::memcpy(to, source, depth * sizeof(T));
        } else if (work.a_row_stride != 1) {
            for (std::size_t p = 0; p < depth; ++p) {
                to[p] = source[p * work.a_column_stride];
            }
        }
    }
    if (work.a_column_stride != 1 && work.a_row_stride == 1) {
        transpose(from, work.a_column_stride, depth, rows, to - rows * B::kStripStride,
                  B::kStripStride);
    }
    for (std::size_t row = rows; row < round_up(rows, B::kTileRows); ++row, to += B::kStripStride) {
        std::fill_n(to, depth, T{0});
    }
}

/// A strip of B: `depth` times the tile's columns, those that are missing as zeros.
template <typename T>
void copy_strip_of_b(const Multiplication<T>& work, std::size_t first_depth, std::size_t depth,
                     std::size_t first_column, std::size_t columns, T* to) {
    constexpr std::size_t width = Blocks<T>::kTileColumns;
    const T* from = work.b + first_depth * work.b_row_stride + first_column * work.b_column_stride;
    if (columns < width) {
        std::fill_n(to, depth * width, T{0});
    }
    if (work.b_column_stride == 1) {
        for (std::size_t p = 0; p < depth; ++p) {
            if (columns == width) {
                std::memcpy(to + p * width, from + p * work.b_row_stride, width * sizeof(T));
            } else {
                std::memcpy(to + p * width, from + p * work.b_row_stride, columns * sizeof(T));
            }
        }
    } else if (work.b_row_stride == 1) {
        transpose(from, work.b_column_stride, columns, depth, to, width);
    } else {
        for (std::size_t p = 0; p < depth; ++p) {
            for (std::size_t j = 0; j < columns; ++j) {
                to[p * width + j] = from[p * work.b_row_stride + j * work.b_column_stride];
            }
        }
    }
}

/// Where a tile goes: alpha·tile + beta·c.
template <typename T>
struct Target {
    T* c;
    std::size_t stride;
    T alpha;
    T beta;
};

template <typename T>
void multiply_tile(std::size_t depth, const T* a, const T* b, const Target<T>& target) {
    using B = Blocks<T>;
    constexpr std::size_t rows = B::kTileRows;
    const Tag<T> d;
    Vec<T> sums[rows][2];
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
        sums[i][0] = hn::Zero(d);
        sums[i][1] = hn::Zero(d);
    }
    for (std::size_t p = 0; p < depth; ++p) {
        const auto b0 = hn::Load(d, b + p * B::kTileColumns);
        const auto b1 = hn::Load(d, b + p * B::kTileColumns + B::kLanes);
#pragma GCC unroll 16
        for (std::size_t i = 0; i < rows; ++i) {
            const auto each = hn::Set(d, a[i * B::kStripStride + p]);
            sums[i][0] = hn::MulAdd(each, b0, sums[i][0]);
            sums[i][1] = hn::MulAdd(each, b1, sums[i][1]);
        }
    }
    const auto alpha = hn::Set(d, target.alpha);
    const auto beta = hn::Set(d, target.beta);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < rows; ++i) {
        T* row = target.c + i * target.stride;
        auto low = hn::Mul(alpha, sums[i][0]);
        auto high = hn::Mul(alpha, sums[i][1]);
        if (target.beta != T{0}) {
            low = hn::MulAdd(beta, hn::LoadU(d, row), low);
            high = hn::MulAdd(beta, hn::LoadU(d, row + B::kLanes), high);
        }
        hn::StoreU(low, d, row);
        hn::StoreU(high, d, row + B::kLanes);
    }
}

/// A part of C that a tile covers.
template <typename T>
struct Part {
    T* c;
    std::size_t rows;
    std::size_t columns;
};

/// A tile at the edge of C, or of a C whose columns are apart: by way of a tile beside it.
template <typename T>
void multiply_part(std::size_t depth, const T* a, const T* b, const Multiplication<T>& work,
                   const Part<T>& part, T beta) {
    using B = Blocks<T>;
    HWY_ALIGN T tile[B::kTileRows * B::kTileColumns];
    multiply_tile<T>(depth, a, b,
                     {.c = tile, .stride = B::kTileColumns, .alpha = work.alpha, .beta = 0});
    for (std::size_t i = 0; i < part.rows; ++i) {
        for (std::size_t j = 0; j < part.columns; ++j) {
            T& to = part.c[i * work.c_row_stride + j * work.c_column_stride];
            const T value = tile[i * B::kTileColumns + j];
            to = beta == T{0} ? value : value + beta * to;
        }
    }
}

/// The rows and the columns of C that one block of A and one of B make.
struct Region {
    std::size_t row;
    std::size_t rows;
    std::size_t column;
    std::size_t columns;
};

template <typename T>
void multiply_block(const Multiplication<T>& work, const Region& region, std::size_t depth,
                    const T* a, const T* b, T beta) {
    using B = Blocks<T>;
    for (std::size_t j = 0; j < region.columns; j += B::kTileColumns) {
        const T* strip = b + j * depth;
        const std::size_t columns = std::min(B::kTileColumns, region.columns - j);
        for (std::size_t i = 0; i < region.rows; i += B::kTileRows) {
            const std::size_t rows = std::min(B::kTileRows, region.rows - i);
            T* c = work.c + (region.row + i) * work.c_row_stride +
                   (region.column + j) * work.c_column_stride;
            if (rows == B::kTileRows && columns == B::kTileColumns && work.c_column_stride == 1) {
                multiply_tile<T>(
                    depth, a + i * B::kStripStride, strip,
                    {.c = c, .stride = work.c_row_stride, .alpha = work.alpha, .beta = beta});
            } else {
                multiply_part<T>(depth, a + i * B::kStripStride, strip, work,
                                 {.c = c, .rows = rows, .columns = columns}, beta);
            }
        }
    }
}

template <typename T>
void scale_result(const Multiplication<T>& work) {
    for (std::size_t i = 0; i < work.m; ++i) {
        for (std::size_t j = 0; j < work.n; ++j) {
            T& c = work.c[i * work.c_row_stride + j * work.c_column_stride];
            c = work.beta == T{0} ? T{0} : work.beta * c;
        }
    }
}

template <typename T>
void multiply(const Multiplication<T>& work) {
    using B = Blocks<T>;
    if (work.k == 0) {
        return scale_result(work);
    }
    const auto a_block =
        allocate<T>(std::min(B::kRows, round_up(work.m, B::kTileRows)) * B::kStripStride);
    const auto b_block = allocate<T>(std::min(B::kColumns, round_up(work.n, B::kTileColumns)) *
                                     std::min(B::kDepth, work.k));
    T* a = elements<T>(a_block);
    T* b = elements<T>(b_block);
    for (std::size_t column = 0; column < work.n; column += B::kColumns) {
        const std::size_t columns = std::min(B::kColumns, work.n - column);
        for (std::size_t p = 0; p < work.k; p += B::kDepth) {
            const std::size_t depth = std::min(B::kDepth, work.k - p);
            for (std::size_t j = 0; j < columns; j += B::kTileColumns) {
                copy_strip_of_b(work, p, depth, column + j, std::min(B::kTileColumns, columns - j),
                                b + j * depth);
            }
            for (std::size_t row = 0; row < work.m; row += B::kRows) {
                const std::size_t rows = std::min(B::kRows, work.m - row);
                copy_a(work, row, rows, p, depth, a);
                multiply_block(work,
                               {.row = row, .rows = rows, .column = column, .columns = columns},
                               depth, a, b, p == 0 ? work.beta : T{1});
            }
        }
    }
}

template <typename T>
void rows_by_vector(const T* a, std::size_t stride, std::size_t rows, std::size_t columns,
                    const T* x, T* y) {
    const Tag<T> d;
    constexpr std::size_t lane_count = hn::MaxLanes(d);
    constexpr std::size_t row_count = 4;
    const std::size_t whole = columns / (2 * lane_count) * (2 * lane_count);
    for (std::size_t row = 0; row < rows; row += row_count) {
        const std::size_t last = std::min(rows - row, row_count) - 1;
        const T* of[row_count];  // the last row again where there are fewer
        Vec<T> sums[row_count][2];
        for (std::size_t i = 0; i < row_count; ++i) {
            of[i] = a + (row + std::min(i, last)) * stride;
            sums[i][0] = hn::Zero(d);
            sums[i][1] = hn::Zero(d);
        }
        for (std::size_t j = 0; j < whole; j += 2 * lane_count) {
            const auto x0 = hn::LoadU(d, x + j);
            const auto x1 = hn::LoadU(d, x + j + lane_count);
#pragma GCC unroll 4
            for (std::size_t i = 0; i < row_count; ++i) {
                sums[i][0] = hn::MulAdd(hn::LoadU(d, of[i] + j), x0, sums[i][0]);
                sums[i][1] = hn::MulAdd(hn::LoadU(d, of[i] + j + lane_count), x1, sums[i][1]);
            }
        }
        for (std::size_t i = 0; i <= last; ++i) {
            T sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(sums[i][0], sums[i][1])));
            for (std::size_t j = whole; j < columns; ++j) {
                sum += of[i][j] * x[j];
            }
            y[row + i] = sum;
        }
    }
}

template <typename T>
void columns_by_vector(const T* a, std::size_t stride, std::size_t rows, std::size_t columns,
                       const T* x, T* y) {
    const Tag<T> d;
    constexpr std::size_t lane_count = hn::MaxLanes(d);
    constexpr std::size_t height = 4 * lane_count;  // of y, in registers
    std::size_t row = 0;
    for (; row + height <= rows; row += height) {
        Vec<T> sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
        for (std::size_t j = 0; j < columns; ++j) {
            const auto factor = hn::Set(d, x[j]);
            const T* from = a + j * stride + row;
#pragma GCC unroll 4
            for (std::size_t i = 0; i < 4; ++i) {
                sums[i] = hn::MulAdd(hn::LoadU(d, from + i * lane_count), factor, sums[i]);
            }
        }
        for (std::size_t i = 0; i < 4; ++i) {
            hn::StoreU(sums[i], d, y + row + i * lane_count);
        }
    }
    for (; row < rows; ++row) {
        T sum = 0;
        for (std::size_t j = 0; j < columns; ++j) {
            sum += a[j * stride + row] * x[j];
        }
        y[row] = sum;
    }
}

template <typename T>
constexpr MatrixKernels<T> table() {
    return {.tile_rows = Blocks<T>::kTileRows,
            .multiply = multiply<T>,
            .rows_by_vector = rows_by_vector<T>,
            .columns_by_vector = columns_by_vector<T>,
            .transpose = transpose<T>};
}

}  // namespace

// NOLINTNEXTLINE(misc-use-internal-linkage): the last round refers to each of them.
const MatrixTable& matrix_table() {
    static constexpr MatrixTable table_of_target{.f32 = table<float>(), .f64 = table<double>()};
    return table_of_target;
}

}  // namespace pepita::compute::detail::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pepita::compute::detail {

const MatrixTable& matrix_kernels(SimdTarget target) {
    switch (target) {
        // NOLINTNEXTLINE(bugprone-branch-clone): clang-tidy sees one target.
        case SimdTarget::Scalar:
            return N_SCALAR::matrix_table();
        case SimdTarget::Sse4:
            return PEPITA_SIMD_SSE4::matrix_table();
        case SimdTarget::Avx2:
            return PEPITA_SIMD_AVX2::matrix_table();
        case SimdTarget::Avx512:
            return PEPITA_SIMD_AVX512::matrix_table();
    }
    std::unreachable();
}

}  // namespace pepita::compute::detail
#endif
