// Each kernel on each target that this processor has, against the same in the next wider type.

#include "compute/simd.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

namespace pepita::compute {
namespace {

template <typename T>
struct Wider;
template <>
struct Wider<float> {
    using Type = double;
};
template <>
struct Wider<double> {
    using Type = long double;
};
template <typename T>
using Wide = typename Wider<T>::Type;
template <typename T>
Wide<T> wide(T value) {
    return static_cast<Wide<T>>(value);
}

/// How far `got` is from `exact`, in units in the last place that T has there.
template <typename T>
double ulps_off(T got, Wide<T> exact) {
    const T nearest = static_cast<T>(exact);
    if (std::isnan(nearest) || std::isnan(got)) {
        return std::isnan(nearest) == std::isnan(got) ? 0 : HUGE_VAL;
    }
    if (std::isinf(nearest) || std::isinf(got)) {
        return got == nearest ? 0 : HUGE_VAL;
    }
    const T size = std::max(std::abs(nearest), std::numeric_limits<T>::min());
    const T ulp = std::nextafter(size, std::numeric_limits<T>::infinity()) - size;
    return static_cast<double>(std::abs(static_cast<Wide<T>>(got) - exact) /
                               static_cast<Wide<T>>(ulp));
}

template <typename T>
std::vector<T> special_values() {
    using Limits = std::numeric_limits<T>;
    return {T{0},
            -T{0},
            T{1},
            T{-1},
            Limits::infinity(),
            -Limits::infinity(),
            Limits::quiet_NaN(),
            Limits::denorm_min(),
            -Limits::denorm_min(),
            Limits::min() / 2,
            Limits::min(),
            Limits::max(),
            Limits::lowest(),
            Limits::epsilon(),
            std::log(Limits::max()),
            std::log(Limits::min()),
            std::log(Limits::denorm_min())};
}

/// What is special first, then numbers of all sizes that matter to an exponential.
template <typename T>
std::vector<T> values(std::size_t count, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<T> exponent(-30, 10);
    std::vector<T> made = special_values<T>();
    while (made.size() < count) {
        made.push_back((random() % 2 == 0 ? T{1} : T{-1}) * std::exp2(exponent(random)));
    }
    std::rotate(made.begin(), made.begin() + static_cast<std::ptrdiff_t>(seed % 17), made.end());
    made.resize(count);
    return made;
}

/// Without what makes a sum NaN.
template <typename T>
std::vector<T> finite_values(std::size_t count, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::uniform_real_distribution<T> value(-1, 1);
    std::vector<T> made(count);
    std::generate(made.begin(), made.end(), [&] { return value(random); });
    return made;
}

template <typename T>
constexpr std::size_t kLanesMax = 64 / sizeof(T);

/// 0 to 3 of the widest vectors and one element; and what unrolled loops take, with a rest.
template <typename T>
std::vector<std::size_t> sizes() {
    std::vector<std::size_t> all(3 * kLanesMax<T> + 2);
    std::iota(all.begin(), all.end(), 0);
    all.insert(all.end(), {8 * kLanesMax<T>, 9 * kLanesMax<T> + 3, 1025, 4099});
    return all;
}

template <typename T>
const VectorOps<T>& ops_of(const SimdOps& ops) {
    if constexpr (std::is_same_v<T, float>) {
        return ops.f32;
    } else {
        return ops.f64;
    }
}

template <typename T>
class SimdTest : public testing::Test {
protected:
    /// Calls `body(ops)` for each target of this processor.
    template <typename Body>
    void on_each_target(const Body& body) {
        for (const SimdTarget target : SimdCapabilities::detect().targets) {
            SCOPED_TRACE(to_string(target));
            const auto ops = SimdOps::on(target);
            ASSERT_TRUE(ops);
            body(ops_of<T>(*ops));
        }
    }

    /// Calls `run(in, out)` on unaligned arrays of all sizes and in place, and compares with
    /// `exact` of each element. What is beside the arrays stays.
    template <typename Run, typename Exact>
    void check_unary(double ulps_max, const Run& run, const Exact& exact) {
        on_each_target([&](const VectorOps<T>& ops) {
            for (const std::size_t n : sizes<T>()) {
                const std::vector<T> in = values<T>(n + 1, static_cast<std::uint32_t>(n));
                std::vector<T> out(n + 2, T{7});
                ASSERT_TRUE(run(ops, std::span(in).subspan(1), std::span(out).subspan(1, n)));
                for (std::size_t i = 0; i < n; ++i) {
                    ASSERT_LE(ulps_off(out[i + 1], exact(static_cast<Wide<T>>(in[i + 1]))),
                              ulps_max)
                        << "of " << in[i + 1] << " is " << out[i + 1] << ", element " << i << " of "
                        << n;
                }
                ASSERT_EQ(out.front(), T{7});
                ASSERT_EQ(out.back(), T{7});
                std::vector<T> in_place = in;
                const auto part = std::span(in_place).subspan(1);
                ASSERT_TRUE(run(ops, part, part));
                ASSERT_EQ(std::memcmp(part.data(), out.data() + 1, n * sizeof(T)), 0) << n;
            }
        });
    }

    template <typename Run, typename Exact>
    void check_binary(double ulps_max, const Run& run, const Exact& exact) {
        on_each_target([&](const VectorOps<T>& ops) {
            for (const std::size_t n : sizes<T>()) {
                const std::vector<T> a = values<T>(n + 1, static_cast<std::uint32_t>(n));
                std::vector<T> b = values<T>(n, static_cast<std::uint32_t>(n + 5));
                std::vector<T> out(n + 2, T{7});
                const auto left = std::span(a).subspan(1);
                ASSERT_TRUE(run(ops, left, std::span<const T>(b), std::span(out).subspan(1, n)));
                for (std::size_t i = 0; i < n; ++i) {
                    const Wide<T> x = wide<T>(left[i]);
                    const Wide<T> y = wide(b[i]);
                    ASSERT_LE(ulps_off(out[i + 1], exact(x, y)), ulps_max)
                        << left[i] << " and " << b[i] << " give " << out[i + 1];
                }
                ASSERT_EQ(out.front(), T{7});
                ASSERT_EQ(out.back(), T{7});
                ASSERT_TRUE(run(ops, left, std::span<const T>(b), std::span(b)));
                ASSERT_EQ(std::memcmp(b.data(), out.data() + 1, n * sizeof(T)), 0) << n;
            }
        });
    }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(SimdTest, Types);

TYPED_TEST(SimdTest, AddsSubtractsMultipliesAndDividesAsTheScalarsDo) {
    using T = TypeParam;
    this->check_binary(
        0.5, [](const auto& ops, auto a, auto b, auto out) { return ops.add(a, b, out); },
        [](auto x, auto y) { return Wide<T>{x + y}; });
    this->check_binary(
        0.5, [](const auto& ops, auto a, auto b, auto out) { return ops.sub(a, b, out); },
        [](auto x, auto y) { return Wide<T>{x - y}; });
    this->check_binary(
        0.5, [](const auto& ops, auto a, auto b, auto out) { return ops.mul(a, b, out); },
        [](auto x, auto y) { return Wide<T>{x * y}; });
    this->check_binary(
        0.5, [](const auto& ops, auto a, auto b, auto out) { return ops.div(a, b, out); },
        [](auto x, auto y) { return Wide<T>{x / y}; });
}

TYPED_TEST(SimdTest, ScalesAndRectifies) {
    using T = TypeParam;
    this->check_unary(
        0.5, [](const auto& ops, auto in, auto out) { return ops.scale(T{3}, in, out); },
        [](auto x) { return 3 * x; });
    this->check_unary(
        0, [](const auto& ops, auto in, auto out) { return ops.relu(in, out); },
        [](auto x) { return x < 0 ? Wide<T>{0} : x; });
}

TYPED_TEST(SimdTest, MultipliesAndAddsWithOneRoundingOrTwo) {
    using T = TypeParam;
    this->on_each_target([](const VectorOps<T>& ops) {
        for (const std::size_t n : sizes<T>()) {
            const auto a = finite_values<T>(n, 1);
            const auto b = finite_values<T>(n, 2);
            auto c = finite_values<T>(n, 3);
            std::vector<T> fma(n);
            ASSERT_TRUE(ops.fma(a, b, c, fma));
            for (std::size_t i = 0; i < n; ++i) {
                const bool once = fma[i] == std::fma(a[i], b[i], c[i]);
                const T product = a[i] * b[i];
                ASSERT_TRUE(once || fma[i] == product + c[i]) << i;
            }
            const auto before = c;
            ASSERT_TRUE(ops.axpy(T{0.75}, a, c));
            for (std::size_t i = 0; i < n; ++i) {
                const bool once = c[i] == std::fma(T{0.75}, a[i], before[i]);
                const T product = T{0.75} * a[i];
                ASSERT_TRUE(once || c[i] == product + before[i]) << i;
            }
        }
    });
}

TYPED_TEST(SimdTest, ExponentialsAreWithinTheirBounds) {
    using T = TypeParam;
    this->check_unary(
        VectorOps<T>::kExpUlp, [](const auto& ops, auto in, auto out) { return ops.exp(in, out); },
        [](auto x) { return std::exp(x); });
    this->check_unary(
        VectorOps<T>::kSigmoidUlp,
        [](const auto& ops, auto in, auto out) { return ops.sigmoid(in, out); },
        [](auto x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); });
    this->check_unary(
        VectorOps<T>::kTanhUlp,
        [](const auto& ops, auto in, auto out) { return ops.tanh(in, out); },
        [](auto x) { return std::tanh(x); });
}

TYPED_TEST(SimdTest, ExponentialsAreWithinTheirBoundsOnADenseGrid) {
    using T = TypeParam;
    std::vector<T> in(200'003);
    const T limit = std::log(std::numeric_limits<T>::max()) + 1;
    for (std::size_t i = 0; i < in.size(); ++i) {
        in[i] = (static_cast<T>(i) / static_cast<T>(in.size()) * 2 - 1) * limit;
    }
    std::vector<T> out(in.size());
    this->on_each_target([&](const VectorOps<T>& ops) {
        double exp_worst = 0;
        double sigmoid_worst = 0;
        double tanh_worst = 0;
        ASSERT_TRUE(ops.exp(in, out));
        for (std::size_t i = 0; i < in.size(); ++i) {
            exp_worst = std::max(exp_worst, ulps_off(out[i], std::exp(wide(in[i]))));
        }
        ASSERT_TRUE(ops.sigmoid(in, out));
        for (std::size_t i = 0; i < in.size(); ++i) {
            const Wide<T> power = std::exp(-std::abs(wide(in[i])));
            const Wide<T> exact = (in[i] < 0 ? power : 1) / (1 + power);
            sigmoid_worst = std::max(sigmoid_worst, ulps_off(out[i], exact));
        }
        std::vector<T> small(in.size());
        ASSERT_TRUE(ops.scale(T{30} / limit, in, small));
        ASSERT_TRUE(ops.tanh(small, out));
        for (std::size_t i = 0; i < in.size(); ++i) {
            tanh_worst = std::max(tanh_worst, ulps_off(out[i], std::tanh(wide(small[i]))));
        }
        EXPECT_LE(exp_worst, VectorOps<T>::kExpUlp);
        EXPECT_LE(sigmoid_worst, VectorOps<T>::kSigmoidUlp);
        EXPECT_LE(tanh_worst, VectorOps<T>::kTanhUlp);
    });
}

TYPED_TEST(SimdTest, SumAndDotAreWithinTheirBounds) {
    using T = TypeParam;
    this->on_each_target([](const VectorOps<T>& ops) {
        for (const std::size_t n : sizes<T>()) {
            const auto a = finite_values<T>(n + 1, 1);
            const auto b = finite_values<T>(n + 1, 2);
            const auto x = std::span(a).subspan(1);
            const auto y = std::span(b).subspan(1);
            Wide<T> sum = 0;
            Wide<T> sum_size = 0;
            Wide<T> dot = 0;
            Wide<T> dot_size = 0;
            for (std::size_t i = 0; i < n; ++i) {
                const Wide<T> product = wide<T>(x[i]) * wide<T>(y[i]);
                sum += wide<T>(x[i]);
                sum_size += std::abs(wide<T>(x[i]));
                dot += product;
                dot_size += std::abs(product);
            }
            const Wide<T> bound =
                (static_cast<Wide<T>>(n) / 8 + 16) * wide(std::numeric_limits<T>::epsilon()) / 2;
            ASSERT_LE(std::abs(wide(ops.sum(x)) - sum), bound * sum_size) << n;
            ASSERT_LE(std::abs(wide(*ops.dot(x, y)) - dot), bound * dot_size) << n;
        }
    });
}

TYPED_TEST(SimdTest, ExtremesAreFoundAtEveryPlace) {
    using T = TypeParam;
    this->on_each_target([](const VectorOps<T>& ops) {
        for (const std::size_t n : sizes<T>()) {
            for (std::size_t at = 0; at < n; at += n > 1000 ? 97 : 1) {
                std::vector<T> in(n, T{-2});
                in[at] = T{-1};
                ASSERT_EQ(*ops.max(in), T{-1});
                ASSERT_EQ(*ops.min(in), n == 1 ? T{-1} : T{-2});
                ASSERT_EQ(*ops.argmax(in), at) << n;
                in[at] = -std::numeric_limits<T>::infinity();
                ASSERT_EQ(*ops.min(in), in[at]);
                in[at] = std::numeric_limits<T>::quiet_NaN();
                in.back() = std::numeric_limits<T>::quiet_NaN();
                ASSERT_TRUE(std::isnan(*ops.max(in)));
                ASSERT_TRUE(std::isnan(*ops.min(in)));
                ASSERT_EQ(*ops.argmax(in), at) << n;
            }
        }
    });
}

TYPED_TEST(SimdTest, SoftmaxIsWithinItsBoundAndSumsToOne) {
    using T = TypeParam;
    this->on_each_target([](const VectorOps<T>& ops) {
        for (const std::size_t n : sizes<T>()) {
            auto in = finite_values<T>(n, static_cast<std::uint32_t>(n));
            for (T& each : in) {
                each = each * 40 + 1000;  // an exponential of it alone would overflow
            }
            std::vector<T> out(n);
            ASSERT_TRUE(ops.softmax(in, out));
            Wide<T> sum = 0;
            const T largest = n == 0 ? T{0} : *std::max_element(in.begin(), in.end());
            for (const T each : in) {
                sum += std::exp(wide(each) - wide(largest));
            }
            for (std::size_t i = 0; i < n; ++i) {
                const double bound =
                    6 + static_cast<double>(largest - in[i]) + static_cast<double>(n) / 8 + 16;
                ASSERT_LE(ulps_off(out[i], std::exp(wide(in[i]) - wide(largest)) / sum), bound);
            }
            ASSERT_TRUE(ops.softmax(in, in));
            ASSERT_EQ(in, out);
        }
        std::vector<T> row{1, std::numeric_limits<T>::quiet_NaN(), 2};
        ASSERT_TRUE(ops.softmax(row, row));
        ASSERT_TRUE(std::isnan(row[0]) && std::isnan(row[1]) && std::isnan(row[2]));
    });
}

TYPED_TEST(SimdTest, StreamsWhatTheCachesCannotHold) {
    using T = TypeParam;
    const std::size_t n = SimdCapabilities::detect().last_cache.value() / sizeof(T) / 2 + 13;
    const std::vector<T> a(n, T{1});
    const std::vector<T> b(n, T{2});
    this->on_each_target([&](const VectorOps<T>& ops) {
        std::vector<T> out(n + 2, T{7});
        ASSERT_TRUE(ops.add(a, b, std::span(out).subspan(1, n)));
        EXPECT_EQ(out.front(), T{7});
        EXPECT_EQ(out.back(), T{7});
        EXPECT_EQ(std::count(out.begin(), out.end(), T{3}), static_cast<std::ptrdiff_t>(n));
    });
}

TYPED_TEST(SimdTest, NamesTheOperandThatDoesNotFit) {
    using T = TypeParam;
    const SimdOps all;
    const auto& ops = ops_of<T>(all);
    std::vector<T> four(4);
    std::vector<T> three(3);
    EXPECT_EQ(ops.add(four, three, four).error().message(), "add: 'b' has 3 elements, 'out' has 4");
    EXPECT_EQ(ops.fma(four, four, four, three).error().message(),
              "fma: 'a' has 4 elements, 'out' has 3");
    EXPECT_EQ(ops.axpy(T{1}, three, four).error().message(), "axpy: 'x' has 3 elements, 'y' has 4");
    EXPECT_EQ(ops.dot(four, three).error().message(), "dot: 'a' has 4 elements, 'b' has 3");
    EXPECT_EQ(ops.min({}).error().message(), "min: 'in' is empty");
    EXPECT_EQ(ops.max({}).error().message(), "max: 'in' is empty");
    EXPECT_EQ(ops.argmax({}).error().message(), "argmax: 'in' is empty");
}

TYPED_TEST(SimdTest, RefusesOperandsThatOverlapInPart) {
    using T = TypeParam;
    const SimdOps all;
    const auto& ops = ops_of<T>(all);
    std::vector<T> memory(9);
    const auto low = std::span(memory).first(5);
    const auto high = std::span(memory).last(5);  // shares one element with `low`
    EXPECT_EQ(ops.exp(low, high).error().message(),
              "exp: 'out' overlaps 'in' and is not the same memory");
    EXPECT_EQ(ops.sub(high, low, high).error().message(),
              "sub: 'out' overlaps 'b' and is not the same memory");
    EXPECT_TRUE(ops.exp(std::span(memory).first(4), std::span(memory).last(4)));
}

/// The value of a half by its definition.
double value_of(std::uint16_t bits) {
    const int exponent = bits >> 10U & 31;
    const double mantissa = bits & 1023U;
    const double sign = (bits >> 15U) != 0 ? -1 : 1;
    if (exponent == 31) {
        return mantissa == 0 ? sign * HUGE_VAL : std::nan("");
    }
    return exponent == 0 ? sign * std::ldexp(mantissa, -24)
                         : sign * std::ldexp(1024 + mantissa, exponent - 25);
}

class SimdConversionTest : public testing::TestWithParam<SimdTarget> {};
INSTANTIATE_TEST_SUITE_P(Targets, SimdConversionTest,
                         testing::ValuesIn(SimdCapabilities::detect().targets),
                         [](const auto& param) {
                             return "Target" + std::to_string(static_cast<int>(param.param));
                         });

TEST_P(SimdConversionTest, EveryHalfIsReadByItsDefinitionAndWrittenBack) {
    const auto ops = *SimdOps::on(GetParam());
    std::vector<F16> halves(65'536);
    for (std::uint32_t i = 0; i < halves.size(); ++i) {
        halves[i].bits = static_cast<std::uint16_t>(i);
    }
    std::vector<float> floats(halves.size());
    ASSERT_TRUE(ops.from_f16(halves, floats));
    std::vector<F16> back(halves.size());
    ASSERT_TRUE(ops.to_f16(floats, back));
    for (const F16 half : halves) {
        const double exact = value_of(half.bits);
        if (std::isnan(exact)) {
            ASSERT_TRUE(std::isnan(floats[half.bits]));
            ASSERT_EQ(back[half.bits].bits, half.bits | 0x200U);
        } else {
            ASSERT_EQ(floats[half.bits], exact) << half.bits;
            ASSERT_EQ(std::signbit(floats[half.bits]), (half.bits & 0x8000U) != 0);
            ASSERT_EQ(back[half.bits], half);
        }
    }
}

TEST_P(SimdConversionTest, RoundsToTheNearestHalfAndTiesToEven) {
    const auto ops = *SimdOps::on(GetParam());
    for (std::uint16_t bits = 0; bits < 0x7bff; ++bits) {
        const float low = static_cast<float>(value_of(bits));
        const float high = static_cast<float>(value_of(static_cast<std::uint16_t>(bits + 1)));
        const float middle = (low + high) / 2;  // exact: a float has 13 bits more
        const std::vector<float> in{std::nextafter(middle, 0.0F), middle,
                                    std::nextafter(middle, HUGE_VALF), -middle};
        std::vector<F16> out(4);
        ASSERT_TRUE(ops.to_f16(in, out));
        const auto even = static_cast<std::uint16_t>(bits + (bits & 1U));
        ASSERT_EQ(out[0].bits, bits);
        ASSERT_EQ(out[1].bits, even);
        ASSERT_EQ(out[2].bits, bits + 1);
        ASSERT_EQ(out[3].bits, even | 0x8000U);
    }
    const std::vector<float> in{65'519.996F, 65'520.0F, 1e30F, -HUGE_VALF};
    std::vector<F16> out(4);
    ASSERT_TRUE(ops.to_f16(in, out));
    EXPECT_EQ(out, (std::vector<F16>{{0x7bff}, {0x7c00}, {0x7c00}, {0xfc00}}));
}

TEST_P(SimdConversionTest, RoundsToTheNearestBf16AndTiesToEven) {
    const auto ops = *SimdOps::on(GetParam());
    const std::vector<std::uint32_t> in_bits{0x3f800000, 0x3f807fff, 0x3f808000, 0x3f808001,
                                             0x3f818000, 0x7f7fffff, 0x7f800000, 0x7f800001,
                                             0xffc12345, 0x00000001, 0x80008000};
    std::vector<float> in;
    for (const std::uint32_t bits : in_bits) {
        in.push_back(std::bit_cast<float>(bits));
    }
    std::vector<Bf16> out(in.size());
    ASSERT_TRUE(ops.to_bf16(in, out));
    EXPECT_EQ(out, (std::vector<Bf16>{{0x3f80},
                                      {0x3f80},
                                      {0x3f80},
                                      {0x3f81},
                                      {0x3f82},
                                      {0x7f80},
                                      {0x7f80},
                                      {0x7fc0},
                                      {0xffc1},
                                      {0},
                                      {0x8000}}));
    std::vector<float> back(out.size());
    ASSERT_TRUE(ops.from_bf16(out, back));
    EXPECT_EQ(std::bit_cast<std::uint32_t>(back[8]), 0xffc10000);
    EXPECT_EQ(back[4], 1.015625F);
}

TEST(SimdOps, RefusesATargetThatTheProcessorLacks) {
    const auto ops = SimdOps::on(SimdTarget::Avx512);
    if (SimdCapabilities::detect().has(SimdTarget::Avx512)) {
        EXPECT_TRUE(ops);
        GTEST_SKIP() << "this processor has every target";
    }
    EXPECT_EQ(ops.error().message(), "this processor has no AVX-512");
}

}  // namespace
}  // namespace pepita::compute
