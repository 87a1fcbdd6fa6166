// Products on each target that this processor has, against sums in the next wider type.

#include "compute/matrix.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "compute/scheduler.h"

namespace pepita::compute {
namespace {

template <typename T>
using Wide = std::conditional_t<std::is_same_v<T, float>, double, long double>;

template <typename T>
const DenseOps<T>& ops_of(const MatrixOps& ops) {
    if constexpr (std::is_same_v<T, float>) {
        return ops.f32;
    } else {
        return ops.f64;
    }
}

enum class Layout : std::uint8_t { Rows, Columns, Both };
constexpr std::array kLayouts{Layout::Rows, Layout::Columns, Layout::Both};

/// A matrix in memory of its own, with room beside its elements that nothing may change.
template <typename T>
struct Matrix {
    static constexpr T kBeside = -77;

    Matrix(std::size_t rows, std::size_t columns, Layout layout, std::uint32_t seed)
        : view{.data = {},
               .rows = rows,
               .columns = columns,
               .row_stride = layout == Layout::Columns ? 1 : 2 * columns + 3,
               .column_stride = layout == Layout::Rows   ? 1U
                                : layout == Layout::Both ? 2
                                                         : rows + 1} {
        memory.assign(rows * view.row_stride + columns * view.column_stride + 5, kBeside);
        view.data = std::span(memory).subspan(1);  // unaligned
        std::mt19937 random(seed);
        std::uniform_real_distribution<T> value(-1, 1);
        for (std::size_t i = 0; i < rows; ++i) {
            for (std::size_t j = 0; j < columns; ++j) {
                at(i, j) = value(random);
            }
        }
    }
    Matrix(const Matrix& other) : memory(other.memory), view(other.view) {
        view.data = std::span(memory).subspan(1);
    }
    Matrix& operator=(const Matrix&) = delete;

    T& at(std::size_t i, std::size_t j) {
        return view.data[i * view.row_stride + j * view.column_stride];
    }
    const T& at(std::size_t i, std::size_t j) const {
        return view.data[i * view.row_stride + j * view.column_stride];
    }
    /// How many elements are not of the matrix and as they were.
    std::size_t beside() const {
        return static_cast<std::size_t>(std::count(memory.begin(), memory.end(), kBeside));
    }

    std::vector<T> memory;
    MatrixView<T> view;
};

template <typename T>
void expect_product(const Matrix<T>& a, const Matrix<T>& b, const Matrix<T>& before,
                    const Matrix<T>& c, Scaling<T> scaling) {
    for (std::size_t i = 0; i < c.view.rows; ++i) {
        for (std::size_t j = 0; j < c.view.columns; ++j) {
            Wide<T> sum = 0;
            Wide<T> size = 0;
            for (std::size_t p = 0; p < a.view.columns; ++p) {
                const Wide<T> product =
                    static_cast<Wide<T>>(a.at(i, p)) * static_cast<Wide<T>>(b.at(p, j));
                sum += product;
                size += std::abs(product);
            }
            const auto alpha = static_cast<Wide<T>>(scaling.alpha);
            const Wide<T> old = scaling.beta == 0 ? 0
                                                  : static_cast<Wide<T>>(scaling.beta) *
                                                        static_cast<Wide<T>>(before.at(i, j));
            const Wide<T> bound = (static_cast<Wide<T>>(a.view.columns) + 4) *
                                  static_cast<Wide<T>>(std::numeric_limits<T>::epsilon()) / 2 *
                                  (std::abs(alpha) * size + std::abs(old));
            ASSERT_LE(std::abs(static_cast<Wide<T>>(c.at(i, j)) - (alpha * sum + old)), bound)
                << i << ", " << j;
        }
    }
}

template <typename T>
class MatrixTest : public testing::Test {
protected:
    template <typename Body>
    void on_each_target(const Body& body) {
        for (const SimdTarget target : SimdCapabilities::detect().targets) {
            SCOPED_TRACE(to_string(target));
            const auto ops = MatrixOps::on(target);
            ASSERT_TRUE(ops);
            body(ops_of<T>(*ops));
        }
    }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(MatrixTest, Types);

TYPED_TEST(MatrixTest, MultipliesAllSizesAroundATile) {
    using T = TypeParam;
    this->on_each_target([](const DenseOps<T>& ops) {
        for (const std::size_t m : std::initializer_list<std::size_t>{0, 1, 3, 6, 7, 14, 15, 29}) {
            for (const std::size_t n :
                 std::initializer_list<std::size_t>{0, 1, 3, 8, 15, 16, 31, 32, 33, 65}) {
                for (const std::size_t k : std::initializer_list<std::size_t>{0, 1, 2, 17}) {
                    SCOPED_TRACE(std::to_string(m) + " " + std::to_string(n) + " " +
                                 std::to_string(k));
                    const Matrix<T> a(m, k, Layout::Rows, 1);
                    const Matrix<T> b(k, n, Layout::Rows, 2);
                    Matrix<T> c(m, n, Layout::Rows, 3);
                    const Matrix<T> before = c;
                    ASSERT_TRUE(ops.matmul(a.view, b.view, c.view));
                    expect_product<T>(a, b, before, c, {});
                    ASSERT_EQ(c.beside(), before.beside());
                }
            }
        }
    });
}

TYPED_TEST(MatrixTest, MultipliesAllLayoutsAndScalings) {
    using T = TypeParam;
    this->on_each_target([](const DenseOps<T>& ops) {
        for (const Layout of_a : kLayouts) {
            for (const Layout of_b : kLayouts) {
                for (const Layout of_c : kLayouts) {
                    const Matrix<T> a(23, 37, of_a, 1);
                    const Matrix<T> b(37, 41, of_b, 2);
                    const Matrix<T> before(23, 41, of_c, 3);
                    for (const Scaling<T> scaling :
                         {Scaling<T>{1, 0}, Scaling<T>{-2, T{0.5}}, Scaling<T>{0, 1}}) {
                        Matrix<T> c(23, 41, of_c, 3);
                        ASSERT_TRUE(ops.matmul(a.view, b.view, c.view, scaling));
                        expect_product(a, b, before, c, scaling);
                        ASSERT_EQ(c.beside(), before.beside());
                    }
                }
            }
        }
    });
}

TYPED_TEST(MatrixTest, MultipliesMoreThanABlock) {
    using T = TypeParam;
    this->on_each_target([](const DenseOps<T>& ops) {
        for (const auto& [m, n, k] : {std::array{461, 35, 261}, std::array{5, 3077, 7}}) {
            const auto rows = static_cast<std::size_t>(m);
            const auto columns = static_cast<std::size_t>(n);
            const auto depth = static_cast<std::size_t>(k);
            const Matrix<T> a(rows, depth, Layout::Columns, 1);
            const Matrix<T> b(depth, columns, Layout::Columns, 2);
            Matrix<T> c(rows, columns, Layout::Rows, 3);
            const Matrix<T> before = c;
            ASSERT_TRUE(ops.matmul(a.view, b.view, c.view, {.alpha = 1, .beta = 2}));
            expect_product<T>(a, b, before, c, {.alpha = 1, .beta = 2});
        }
    });
}

TYPED_TEST(MatrixTest, DoesNotReadCIfBetaIsZeroAndLetsNanThrough) {
    using T = TypeParam;
    this->on_each_target([](const DenseOps<T>& ops) {
        Matrix<T> a(20, 9, Layout::Rows, 1);
        const Matrix<T> b(9, 40, Layout::Rows, 2);
        Matrix<T> c(20, 40, Layout::Rows, 3);
        std::fill(c.memory.begin(), c.memory.end(), std::numeric_limits<T>::quiet_NaN());
        ASSERT_TRUE(ops.matmul(a.view, b.view, c.view));
        expect_product<T>(a, b, c, c, {});
        a.at(17, 3) = std::numeric_limits<T>::infinity();
        a.at(18, 3) = std::numeric_limits<T>::quiet_NaN();
        ASSERT_TRUE(ops.matmul(a.view, b.view, c.view));
        EXPECT_TRUE(std::isinf(c.at(17, 39)));
        EXPECT_TRUE(std::isnan(c.at(18, 0)));
        EXPECT_TRUE(std::isfinite(c.at(16, 0)));
        EXPECT_TRUE(std::isfinite(c.at(19, 39)));
    });
}

TYPED_TEST(MatrixTest, SplitsAProductAmongWorkers) {
    using T = TypeParam;
    const auto scheduler = *Scheduler::create({.workers = 3});
    const Matrix<T> a(501, 40, Layout::Rows, 1);
    const Matrix<T> b(40, 50, Layout::Rows, 2);
    this->on_each_target([&](const DenseOps<T>& ops) {
        Matrix<T> c(501, 50, Layout::Columns, 3);
        const Matrix<T> before = c;
        Matrix<T> tall(501, 50, Layout::Rows, 3);
        const bool done = scheduler->run([&](Worker& worker) {
            return ops.matmul(a.view, b.view, c.view, {.alpha = 1, .beta = 1}, &worker) &&
                   ops.matmul(a.view, b.view, tall.view, {.alpha = 1, .beta = 1}, &worker);
        });
        ASSERT_TRUE(done);
        expect_product<T>(a, b, before, c, {.alpha = 1, .beta = 1});
        expect_product<T>(a, b, Matrix<T>(501, 50, Layout::Rows, 3), tall, {.alpha = 1, .beta = 1});
    });
}

TYPED_TEST(MatrixTest, MultipliesBatchesByOneThreadOrMore) {
    using T = TypeParam;
    const auto scheduler = *Scheduler::create({.workers = 2});
    const MatrixOps all;
    const auto& ops = ops_of<T>(all);
    const Matrix<T> a(7, 11, Layout::Rows, 1);
    const Matrix<T> b(11, 13, Layout::Columns, 2);
    const Matrix<T> before(7, 13, Layout::Rows, 3);
    std::vector<Matrix<T>> results(9, before);
    std::vector<typename DenseOps<T>::Product> products;
    for (Matrix<T>& each : results) {
        products.push_back({.a = a.view, .b = b.view, .c = each.view});
    }
    ASSERT_TRUE(ops.matmul_batch(products));
    ASSERT_TRUE(scheduler->run([&](Worker& worker) {
        return ops.matmul_batch(products, {.alpha = 1, .beta = 0}, &worker).has_value();
    }));
    for (const Matrix<T>& each : results) {
        expect_product<T>(a, b, before, each, {});
    }
    products[4].b.rows = 10;
    EXPECT_EQ(ops.matmul_batch(products).error().message(),
              "product 4: matmul: 'b' has 10 rows, 'a' has 11 columns");
}

TYPED_TEST(MatrixTest, MultipliesVectorsInAllLayouts) {
    using T = TypeParam;
    this->on_each_target([](const DenseOps<T>& ops) {
        for (const Layout layout : kLayouts) {
            for (const std::size_t rows :
                 std::initializer_list<std::size_t>{0, 1, 3, 4, 7, 65, 131}) {
                for (const std::size_t columns :
                     std::initializer_list<std::size_t>{0, 1, 5, 31, 32, 33, 97}) {
                    const Matrix<T> a(rows, columns, layout, 1);
                    const Matrix<T> x(columns, 1, Layout::Columns, 2);
                    Matrix<T> y(rows, 1, Layout::Columns, 3);
                    ASSERT_TRUE(
                        ops.matvec(a.view, x.view.data.first(columns), y.view.data.first(rows)));
                    expect_product<T>(a, x, y, y, {});
                    ASSERT_EQ(y.beside(), y.memory.size() - rows);
                }
            }
        }
    });
}

TYPED_TEST(MatrixTest, TransposesAllSizes) {
    using T = TypeParam;
    this->on_each_target([](const DenseOps<T>& ops) {
        for (const std::size_t rows : std::initializer_list<std::size_t>{0, 1, 3, 4, 9, 33}) {
            for (const std::size_t columns :
                 std::initializer_list<std::size_t>{0, 1, 5, 16, 17, 50}) {
                const Matrix<T> in(rows, columns, Layout::Rows, 1);
                Matrix<T> out(columns, rows, Layout::Rows, 2);
                const std::size_t beside = out.beside();
                ASSERT_TRUE(ops.transpose(in.view, out.view));
                for (std::size_t i = 0; i < rows; ++i) {
                    for (std::size_t j = 0; j < columns; ++j) {
                        ASSERT_EQ(out.at(j, i), in.at(i, j));
                    }
                }
                ASSERT_EQ(out.beside(), beside);
            }
        }
    });
}

TYPED_TEST(MatrixTest, NamesTheOperandThatDoesNotFit) {
    using T = TypeParam;
    const MatrixOps all;
    const auto& ops = ops_of<T>(all);
    std::vector<T> memory(36);
    const std::span<T> low = std::span(memory).first(12);
    const std::span<T> middle = std::span(memory).subspan(12, 12);
    const std::span<T> high = std::span(memory).last(12);
    const auto matmul = [&](MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) {
        const auto done = ops.matmul(a, b, c);
        return done ? "" : done.error().message();
    };
    EXPECT_EQ(matmul(dense(low, 3, 4), dense(middle, 3, 4), dense(high, 3, 4)),
              "matmul: 'b' has 3 rows, 'a' has 4 columns");
    EXPECT_EQ(matmul(dense(low, 3, 4), dense(middle, 4, 3), dense(high, 3, 4)),
              "matmul: 'c' is 3 by 4, the product is 3 by 3");
    EXPECT_EQ(matmul(dense(low, 3, 5), dense(middle, 5, 2), dense(high, 3, 2)),
              "matmul: 'a' of 3 by 5 with strides 5 and 1 reaches beyond its 12 elements");
    EXPECT_EQ(
        matmul(dense(low, 3, 4), dense(middle, 4, 3), dense(std::span(memory).subspan(11), 3, 3)),
        "matmul: 'c' overlaps 'a'");
    EXPECT_EQ(
        matmul(dense(low, 3, 4), dense(middle, 4, 3), dense(std::span(memory).subspan(20), 3, 3)),
        "matmul: 'c' overlaps 'b'");
    MatrixView<T> twice = dense(high, 3, 3);
    twice.row_stride = 2;
    EXPECT_EQ(matmul(dense(low, 3, 4), dense(middle, 4, 3), twice),
              "matmul: 'c' has an element twice");
    MatrixView<T> far = dense(low, 3, 4);
    far.row_stride = std::numeric_limits<std::size_t>::max() / 2;
    EXPECT_EQ(matmul(far, dense(middle, 4, 3), dense(high, 3, 3)),
              "matmul: 'a' of 3 by 4 with strides 9223372036854775807 and 1 reaches beyond its 12 "
              "elements");
    EXPECT_EQ(ops.matvec(dense(low, 3, 4), middle.first(3), high.first(3)).error().message(),
              "matvec: 'x' has 3 elements, 'a' has 4 columns");
    EXPECT_EQ(ops.matvec(dense(low, 3, 4), middle.first(4), high.first(4)).error().message(),
              "matvec: 'y' has 4 elements, 'a' has 3 rows");
    EXPECT_EQ(ops.matvec(dense(low, 3, 4), middle.first(4), middle.first(3)).error().message(),
              "matvec: 'y' overlaps 'x'");
    EXPECT_EQ(ops.transpose(dense(low, 3, 4), dense(high, 3, 4)).error().message(),
              "transpose: 'out' is 3 by 4, 'in' is 3 by 4");
    EXPECT_EQ(ops.transpose(dense(low, 3, 4), dense(low, 4, 3)).error().message(),
              "transpose: 'out' overlaps 'in'");
}

TYPED_TEST(MatrixTest, TakesPartsOfOneMatrixThatAreBesideEachOther) {
    using T = TypeParam;
    const MatrixOps all;
    std::vector<T> memory(4 * 12, T{1});
    const auto part = [&](std::size_t first, std::size_t columns) {
        return MatrixView<T>{.data = std::span(memory).subspan(first),
                             .rows = 4,
                             .columns = columns,
                             .row_stride = 12};
    };
    ASSERT_TRUE(ops_of<T>(all).matmul(part(0, 4), part(4, 4), part(8, 4)));
    EXPECT_EQ(memory[7], T{1});
    EXPECT_EQ(memory[8], T{4});
    EXPECT_EQ(ops_of<T>(all).matmul(part(0, 4), part(4, 4), part(7, 4)).error().message(),
              "matmul: 'c' overlaps 'b'");
}

}  // namespace
}  // namespace pepita::compute
