#include "compute/simd_work.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "compute/pool.h"

namespace pepita::compute {
namespace {

std::vector<float> floats_of(const std::string& bytes) {
    std::vector<float> values(bytes.size() / sizeof(float));
    std::memcpy(values.data(), bytes.data(), values.size() * sizeof(float));
    return values;
}

/// The result of a task of a pool.
ExecutionResult run(SimdCall call) {
    const auto pool = *Pool::create({});
    auto work = simd_work(std::move(call));
    EXPECT_TRUE(work);
    return pool->submit({.work = *std::move(work)})->wait();
}

TEST(SimdWork, ATaskReturnsTheFloatsOfItsOperation) {
    const auto result = run({.operation = "fma", .operands = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}}});
    EXPECT_EQ(result.status, TaskStatus::Succeeded);
    EXPECT_EQ(floats_of(result.output), (std::vector<float>{11, 18, 27}));
    const auto less = run({.operation = "sub", .operands = {{1, 2}, {3, 5}}});
    EXPECT_EQ(floats_of(less.output), (std::vector<float>{-2, -3}));
    const auto relu = run({.operation = "relu", .operands = {{-1, 2}}});
    EXPECT_EQ(floats_of(relu.output), (std::vector<float>{0, 2}));
}

TEST(SimdWork, ATaskReturnsOneNumber) {
    EXPECT_EQ(floats_of(run({.operation = "dot", .operands = {{1, 2}, {3, 4}}}).output),
              std::vector<float>{11});
    EXPECT_EQ(floats_of(run({.operation = "max", .operands = {{1, 5, 2}}}).output),
              std::vector<float>{5});
    EXPECT_EQ(run({.operation = "argmax", .operands = {{1, 5, 2}}}).output,
              std::string("\x01\0\0\0\0\0\0\0", 8));
}

TEST(SimdWork, ATaskFailsWithWhatTheOperationRefuses) {
    const auto lengths = run({.operation = "add", .operands = {{1, 2}, {3}}});
    EXPECT_EQ(lengths.status, TaskStatus::Failed);
    EXPECT_EQ(lengths.reason, "add: 'b' has 1 elements, 'out' has 2");
    EXPECT_EQ(run({.operation = "min", .operands = {{}}}).reason, "min: 'in' is empty");
}

TEST(SimdWork, RefusesWhatIsNoOperation) {
    EXPECT_EQ(simd_work({.operation = "sqrt", .operands = {{1}}}).error().message(),
              "no SIMD operation 'sqrt'");
    EXPECT_EQ(simd_work({.operation = "dot", .operands = {{1}}}).error().message(),
              "SIMD operation 'dot' of 1 operands: it has 2");
}

}  // namespace
}  // namespace pepita::compute
