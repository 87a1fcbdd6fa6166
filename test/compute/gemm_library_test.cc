// Products by oneDNN and OpenBLAS, where they are installed, against our own kernels.

#include "compute/gemm_library.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "compute/simd/matrix_kernels.h"

namespace pepita::compute {
namespace {

class GemmLibraryTest : public testing::TestWithParam<GemmLibrary::Name> {
protected:
    void SetUp() override {
        auto opened = GemmLibrary::open(GetParam());
        if (!opened) {
            GTEST_SKIP() << opened.error().message();
        }
        library_ = *std::move(opened);
    }
    std::unique_ptr<GemmLibrary> library_;
};
INSTANTIATE_TEST_SUITE_P(Libraries, GemmLibraryTest,
                         testing::Values(GemmLibrary::Name::OneDnn, GemmLibrary::Name::OpenBlas),
                         [](const auto& param) { return std::string(to_string(param.param)); });

std::vector<float> integers(std::size_t count, std::size_t step) {
    std::vector<float> made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i] = static_cast<float>(i * step % 13) - 6;
    }
    return made;
}

/// The product by `ops`, of 9 by 7 and 7 by 11 elements in the given layouts.
std::vector<float> product(const MatrixOps& ops, bool a_by_columns, bool b_by_columns,
                           bool c_by_columns) {
    const auto a_memory = integers(63, 5);
    const auto b_memory = integers(77, 3);
    std::vector<float> c_memory = integers(99, 7);
    const auto view = [](auto memory, std::size_t rows, std::size_t columns, bool by_columns) {
        return by_columns ? dense(memory, columns, rows).transposed()
                          : dense(memory, rows, columns);
    };
    EXPECT_TRUE(ops.f32.matmul(view(std::span<const float>(a_memory), 9, 7, a_by_columns),
                               view(std::span<const float>(b_memory), 7, 11, b_by_columns),
                               view(std::span<float>(c_memory), 9, 11, c_by_columns),
                               {.alpha = 2, .beta = -1}));
    return c_memory;
}

TEST_P(GemmLibraryTest, AgreesWithOurKernelsInAllLayouts) {
    const MatrixOps own;
    MatrixOps foreign;
    foreign.use(*library_);
    for (const bool a : {false, true}) {
        for (const bool b : {false, true}) {
            for (const bool c : {false, true}) {
                EXPECT_EQ(product(foreign, a, b, c), product(own, a, b, c)) << a << b << c;
            }
        }
    }
}

TEST_P(GemmLibraryTest, RefusesWhatItCannotAndLeavesItToOurKernels) {
    std::vector<float> memory(64, 1);
    std::vector<float> result(16, 5);
    detail::Multiplication<float> work{.m = 4,
                                       .n = 4,
                                       .k = 4,
                                       .a = memory.data(),
                                       .a_row_stride = 8,
                                       .a_column_stride = 2,
                                       .b = memory.data(),
                                       .b_row_stride = 4,
                                       .b_column_stride = 1,
                                       .c = result.data(),
                                       .c_row_stride = 4,
                                       .c_column_stride = 1,
                                       .alpha = 1,
                                       .beta = 0};
    EXPECT_FALSE(library_->multiply(work));
    EXPECT_EQ(result, std::vector<float>(16, 5));
    work.a_row_stride = 4;
    work.a_column_stride = 1;
    EXPECT_TRUE(library_->multiply(work));
    EXPECT_EQ(result, std::vector<float>(16, 4));
    work.k = 0;
    EXPECT_FALSE(library_->multiply(work));
}

TEST(GemmLibrary, TheProbeTakesOneOrSaysWhyNot) {
    const MatrixOps own;
    const auto taken = GemmLibrary::open_faster_than(own);
    if (taken) {
        MatrixOps foreign;
        foreign.use(**taken);
        EXPECT_EQ(product(foreign, false, true, false), product(own, false, true, false));
        return;
    }
    EXPECT_EQ(taken.error().code(), Code::NotFound);
    EXPECT_NE(taken.error().message().find("oneDNN "), std::string::npos);
    EXPECT_NE(taken.error().message().find("; OpenBLAS "), std::string::npos);
}

}  // namespace
}  // namespace pepita::compute
