// The loops over vectors, compiled once for each target: Highway includes this file again and
// again, each time with another HWY_NAMESPACE. What is outside of that namespace is compiled in the
// last round only. Nothing here needs Highway's library, which has no static form in Debian: a
// static program uses its headers alone, and the table of a target is chosen by simd_kernels().

#include "compute/simd/vector_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "compute/simd/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "compute/simd/vector_kernels.cc"  // NOLINT(bugprone-macro-parentheses)
#include "hwy/foreach_target.h"
// After foreach_target.h.
#include "hwy/cache_control.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace pepita::compute::detail::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <typename T>
using Tag = hn::ScalableTag<T>;
template <typename T>
using Vec = hn::Vec<Tag<T>>;
template <typename T>
using Bits = hwy::MakeUnsigned<T>;

// ---- The ends of arrays: fewer elements than a vector has.

template <typename T>
HWY_INLINE Vec<T> load_part(const T* from, std::size_t count) {
    const Tag<T> d;
#if HWY_TARGET <= HWY_AVX2  // whose masked loads do not touch what is masked out
    if constexpr (sizeof(T) >= 4) {
        return hn::MaskedLoad(hn::FirstN(d, count), d, from);
    }
#endif
    HWY_ALIGN T lanes[hn::MaxLanes(d)] = {};
    std::memcpy(lanes, from, count * sizeof(T));
    return hn::Load(d, lanes);
}

template <typename T>
HWY_INLINE void store_part(Vec<T> value, T* to, std::size_t count) {
    const Tag<T> d;
#if HWY_TARGET <= HWY_AVX2
    if constexpr (sizeof(T) >= 4) {
        hn::BlendedStore(value, hn::FirstN(d, count), d, to);
        return;
    }
#endif
    HWY_ALIGN T lanes[hn::MaxLanes(d)];
    hn::Store(value, d, lanes);
    std::memcpy(to, lanes, count * sizeof(T));
}

// ---- Element by element.

/// out[i] = operation(in[i]...). A store to an aligned vector is worth a first step of less than a
/// vector, and streamed stores need it.
template <class Operation, typename T, typename... In>
HWY_INLINE void transform(const Operation& operation, Store store, T* out, std::size_t n,
                          const In*... in) {
    const Tag<T> d;
    constexpr std::size_t lane_count = hn::MaxLanes(d);
    std::size_t i = 0;
    if (n >= 8 * lane_count) {
        // SAFETY: the address is only counted with.
        const std::size_t past = reinterpret_cast<std::uintptr_t>(out) / sizeof(T) % lane_count;
        if (past != 0) {
            i = lane_count - past;
            store_part<T>(operation(load_part(in, i)...), out, i);
        }
        if (store == Store::Streamed) {
            for (; i + lane_count <= n; i += lane_count) {
                hn::Stream(operation(hn::LoadU(d, in + i)...), d, out + i);
            }
            hwy::FlushStream();
        }
        for (; i + 4 * lane_count <= n; i += 4 * lane_count) {
            const auto r0 = operation(hn::LoadU(d, in + i)...);
            hn::Store(r0, d, out + i);
            const auto r1 = operation(hn::LoadU(d, in + i + lane_count)...);
            hn::Store(r1, d, out + i + lane_count);
            const auto r2 = operation(hn::LoadU(d, in + i + 2 * lane_count)...);
            hn::Store(r2, d, out + i + 2 * lane_count);
            const auto r3 = operation(hn::LoadU(d, in + i + 3 * lane_count)...);
            hn::Store(r3, d, out + i + 3 * lane_count);
        }
    }
    for (; i + lane_count <= n; i += lane_count) {
        hn::StoreU(operation(hn::LoadU(d, in + i)...), d, out + i);
    }
    if (i < n) {
        store_part<T>(operation(load_part(in + i, n - i)...), out + i, n - i);
    }
}

struct AddOp {
    template <class V>
    HWY_INLINE V operator()(V a, V b) const {
        return hn::Add(a, b);
    }
};
struct SubOp {
    template <class V>
    HWY_INLINE V operator()(V a, V b) const {
        return hn::Sub(a, b);
    }
};
struct MulOp {
    template <class V>
    HWY_INLINE V operator()(V a, V b) const {
        return hn::Mul(a, b);
    }
};
struct DivOp {
    template <class V>
    HWY_INLINE V operator()(V a, V b) const {
        return hn::Div(a, b);
    }
};
struct FmaOp {
    template <class V>
    HWY_INLINE V operator()(V a, V b, V c) const {
        return hn::MulAdd(a, b, c);
    }
};
template <typename T>
struct AxpyOp {
    T factor;
    HWY_INLINE Vec<T> operator()(Vec<T> x, Vec<T> y) const {
        return hn::MulAdd(hn::Set(Tag<T>(), factor), x, y);
    }
};
template <typename T>
struct ScaleOp {
    T factor;
    HWY_INLINE Vec<T> operator()(Vec<T> x) const { return hn::Mul(hn::Set(Tag<T>(), factor), x); }
};
template <typename T>
struct ReluOp {
    HWY_INLINE Vec<T> operator()(Vec<T> x) const {
        // Not Max: of a NaN and 0 it is the one or the other, as the target likes.
        return hn::IfThenElse(hn::Lt(x, hn::Zero(Tag<T>())), hn::Zero(Tag<T>()), x);
    }
};

// ---- Exponentials.
//
// e^x = 2^k · e^r with k = round(x / ln 2), so |r| <= ln 2 / 2. Adding 1.5·2^(mantissa bits) rounds
// to an integer and leaves it in the low bits: no conversion, which SSE2 lacks for 64 bits.

template <typename T>
struct ExpConstants;
template <>
struct ExpConstants<float> {
    static constexpr float kRound = 0x1.8p23F;
    static constexpr int kMantissa = 23;
    static constexpr float kBias = 127;
    static constexpr float kLog2e = 0x1.715476p0F;
    static constexpr float kLn2High = 0x1.62e4p-1F;  // k · kLn2High is exact for |k| < 2^9
    static constexpr float kLn2Low = 0x1.7f7d1cp-20F;
    static constexpr float kBelow = -104;    // e^x rounds to 0
    static constexpr float kAbove = 89;      // e^x rounds to infinity
    static constexpr float kTanhOne = 9.5F;  // tanh rounds to 1
    static constexpr int kTerms = 7;
};
template <>
struct ExpConstants<double> {
    static constexpr double kRound = 0x1.8p52;
    static constexpr int kMantissa = 52;
    static constexpr double kBias = 1023;
    static constexpr double kLog2e = 0x1.71547652b82fep0;
    static constexpr double kLn2High = 0x1.62e42fefa3800p-1;  // exact for |k| < 2^11
    static constexpr double kLn2Low = 0x1.ef35793c76730p-45;
    static constexpr double kBelow = -746;
    static constexpr double kAbove = 710;
    static constexpr double kTanhOne = 19.5;
    static constexpr int kTerms = 13;
};

/// 2^k for an integer k of normal exponent.
template <typename T>
HWY_INLINE Vec<T> power_of_two(Vec<T> k) {
    using C = ExpConstants<T>;
    const Tag<T> d;
    const hn::RebindToUnsigned<Tag<T>> bits;
    const auto biased = hn::Add(k, hn::Set(d, C::kRound + C::kBias));
    return hn::BitCast(d, hn::ShiftLeft<C::kMantissa>(hn::BitCast(bits, biased)));
}

template <typename T>
struct Reduced {
    Vec<T> k;
    Vec<T> r;
    Vec<T> expm1;  // e^r - 1
};

template <typename T, int N>
constexpr T inverse_factorial() {
    double product = 1;
    for (int i = 2; i <= N; ++i) {
        product *= i;
    }
    return static_cast<T>(1 / product);
}

template <typename T, int N>
HWY_INLINE Vec<T> taylor(Vec<T> r, Vec<T> sum) {
    if constexpr (N < 2) {
        return sum;
    } else {
        return taylor<T, N - 1>(r,
                                hn::MulAdd(sum, r, hn::Set(Tag<T>(), inverse_factorial<T, N>())));
    }
}

template <typename T>
HWY_INLINE Reduced<T> reduce(Vec<T> x) {
    using C = ExpConstants<T>;
    const Tag<T> d;
    const auto magic = hn::Set(d, C::kRound);
    const auto k = hn::Sub(hn::MulAdd(x, hn::Set(d, C::kLog2e), magic), magic);
    auto r = hn::NegMulAdd(k, hn::Set(d, C::kLn2High), x);
    r = hn::NegMulAdd(k, hn::Set(d, C::kLn2Low), r);
    // r + r²·(1/2! + r·(1/3! + ...)): the last step adds the small to the large.
    const auto tail = taylor<T, C::kTerms - 1>(r, hn::Set(d, inverse_factorial<T, C::kTerms>()));
    return {.k = k, .r = r, .expm1 = hn::MulAdd(hn::Mul(r, r), tail, r)};
}

/// NaN stays, as each comparison with it is false.
template <typename T>
HWY_INLINE Vec<T> clamp(Vec<T> x, T low, T high) {
    const Tag<T> d;
    x = hn::IfThenElse(hn::Lt(x, hn::Set(d, low)), hn::Set(d, low), x);
    return hn::IfThenElse(hn::Gt(x, hn::Set(d, high)), hn::Set(d, high), x);
}

template <typename T>
struct ExpOp {
    HWY_INLINE Vec<T> operator()(Vec<T> x) const {
        using C = ExpConstants<T>;
        const Tag<T> d;
        const auto magic = hn::Set(d, C::kRound);
        const Reduced<T> part = reduce<T>(clamp<T>(x, C::kBelow, C::kAbove));
        // In two steps: 2^k itself may be denormal or infinite where e^x is not.
        const auto half = hn::Sub(hn::MulAdd(part.k, hn::Set(d, T{0.5}), magic), magic);
        const auto rest = hn::Sub(part.k, half);
        const auto power = hn::Add(part.expm1, hn::Set(d, T{1}));
        return hn::Mul(hn::Mul(power, power_of_two<T>(half)), power_of_two<T>(rest));
    }
};

template <typename T>
struct SigmoidOp {
    HWY_INLINE Vec<T> operator()(Vec<T> x) const {
        const Tag<T> d;
        const auto one = hn::Set(d, T{1});
        const auto power = ExpOp<T>()(hn::Neg(hn::Abs(x)));  // at most 1: no overflow
        return hn::Div(hn::IfThenElse(hn::Lt(x, hn::Zero(d)), power, one), hn::Add(one, power));
    }
};

template <typename T>
struct TanhOp {
    HWY_INLINE Vec<T> operator()(Vec<T> x) const {
        using C = ExpConstants<T>;
        const Tag<T> d;
        // With m = e^2|x| - 1 it is m / (m + 2); m keeps the digits of a small x.
        const auto size = clamp<T>(hn::Abs(x), T{0}, C::kTanhOne);
        const Reduced<T> part = reduce<T>(hn::Add(size, size));
        const auto power = power_of_two<T>(part.k);
        const auto m = hn::MulAdd(power, part.expm1, hn::Sub(power, hn::Set(d, T{1})));
        return hn::CopySign(hn::Div(m, hn::Add(m, hn::Set(d, T{2}))), x);
    }
};

// ---- Reductions: eight sums at a time hide the latency of an addition.

constexpr std::size_t kSums = 8;

template <class Step, typename T, typename... In>
HWY_INLINE Vec<T> fold(const Step& step, Vec<T> start, std::size_t n, const In*... in) {
    const Tag<T> d;
    constexpr std::size_t lane_count = hn::MaxLanes(d);
    Vec<T> sums[kSums] = {start, start, start, start, start, start, start, start};
    std::size_t i = 0;
    for (; i + kSums * lane_count <= n; i += kSums * lane_count) {
#pragma GCC unroll 8
        for (std::size_t j = 0; j < kSums; ++j) {
            sums[j] = step(sums[j], hn::LoadU(d, in + i + j * lane_count)...);
        }
    }
    for (; i + lane_count <= n; i += lane_count) {
        sums[0] = step(sums[0], hn::LoadU(d, in + i)...);
    }
    if (i < n) {  // the others keep what they have, so nothing needs a neutral element
        const auto next = step(sums[0], load_part(in + i, n - i)...);
        sums[0] = hn::IfThenElse(hn::FirstN(d, n - i), next, sums[0]);
    }
    for (std::size_t width = kSums / 2; width != 0; width /= 2) {
        for (std::size_t j = 0; j < width; ++j) {
            sums[j] = step.join(sums[j], sums[j + width]);
        }
    }
    return sums[0];
}

template <class V>
struct SumStep {
    HWY_INLINE V operator()(V sum, V x) const { return hn::Add(sum, x); }
    HWY_INLINE V join(V a, V b) const { return hn::Add(a, b); }
};
template <class V>
struct DotStep {
    HWY_INLINE V operator()(V sum, V a, V b) const { return hn::MulAdd(a, b, sum); }
    HWY_INLINE V join(V a, V b) const { return hn::Add(a, b); }
};
/// A NaN stays: a comparison with it is false, and the left operand is what was there.
template <class V>
struct MinStep {
    HWY_INLINE V operator()(V least, V x) const {
        const auto keep = hn::Or(hn::Le(least, x), hn::IsNaN(least));
        return hn::IfThenElse(keep, least, x);
    }
    HWY_INLINE V join(V a, V b) const { return (*this)(a, b); }
};
template <class V>
struct MaxStep {
    HWY_INLINE V operator()(V largest, V x) const {
        const auto keep = hn::Or(hn::Ge(largest, x), hn::IsNaN(largest));
        return hn::IfThenElse(keep, largest, x);
    }
    HWY_INLINE V join(V a, V b) const { return (*this)(a, b); }
};

template <typename T>
T sum(const T* in, std::size_t n) {
    const Tag<T> d;
    return hn::GetLane(hn::SumOfLanes(d, fold<SumStep<Vec<T>>, T>({}, hn::Zero(d), n, in)));
}

template <typename T>
T dot(const T* a, const T* b, std::size_t n) {
    const Tag<T> d;
    return hn::GetLane(hn::SumOfLanes(d, fold<DotStep<Vec<T>>, T>({}, hn::Zero(d), n, a, b)));
}

/// The extreme of the lanes, or the first NaN among them.
template <class Step, typename T>
HWY_INLINE T extreme(const T* in, std::size_t n) {
    const Tag<T> d;
    HWY_ALIGN T lanes[hn::MaxLanes(d)];
    hn::Store(fold<Step, T>(Step(), hn::Set(d, in[0]), n, in), d, lanes);
    T result = lanes[0];
    for (std::size_t i = 1; i < hn::MaxLanes(d) && !std::isnan(result); ++i) {
        result = hn::GetLane(Step()(hn::Set(d, result), hn::Set(d, lanes[i])));
    }
    return result;
}

template <typename T>
T min(const T* in, std::size_t n) {
    return extreme<MinStep<Vec<T>>, T>(in, n);
}
template <typename T>
T max(const T* in, std::size_t n) {
    return extreme<MaxStep<Vec<T>>, T>(in, n);
}

template <typename T>
std::size_t argmax(const T* in, std::size_t n) {
    // The block that has the maximum is read a second time, from the first cache.
    constexpr std::size_t block = 1024;
    std::size_t best = 0;
    T largest = in[0];
    for (std::size_t i = 0; i < n && !std::isnan(largest); i += block) {
        const T here = max(in + i, std::min(block, n - i));
        if (here > largest || std::isnan(here)) {
            largest = here;
            best = i;
        }
    }
    if (std::isnan(largest)) {
        while (!std::isnan(in[best])) {
            ++best;
        }
        return best;
    }
    while (in[best] != largest) {
        ++best;
    }
    return best;
}

template <typename T>
void softmax(const T* in, T* out, std::size_t n) {
    struct ShiftedExp {
        T by;
        HWY_INLINE Vec<T> operator()(Vec<T> x) const {
            return ExpOp<T>()(hn::Sub(x, hn::Set(Tag<T>(), by)));
        }
    };
    struct DivideBy {
        T by;
        HWY_INLINE Vec<T> operator()(Vec<T> x) const { return hn::Div(x, hn::Set(Tag<T>(), by)); }
    };
    transform(ShiftedExp{max(in, n)}, Store::Cached, out, n, in);
    transform(DivideBy{sum(out, n)}, Store::Cached, out, n, out);
}

// ---- Halves: integer arithmetic, because only AVX2 and later convert, and none rounds to bf16.

using BitsTag = Tag<std::uint32_t>;
using BitsVec = hn::Vec<BitsTag>;
using HalfTag = hn::Rebind<std::uint16_t, BitsTag>;

HWY_INLINE BitsVec bits_of(std::uint32_t value) { return hn::Set(BitsTag(), value); }
HWY_INLINE BitsVec as_bits(Vec<float> value) { return hn::BitCast(BitsTag(), value); }
HWY_INLINE Vec<float> as_float(BitsVec value) { return hn::BitCast(Tag<float>(), value); }
/// For values below 2^31, which compare alike as signed numbers.
HWY_INLINE auto is_above(BitsVec value, std::uint32_t limit) {
    const hn::RebindToSigned<BitsTag> d;
    return hn::MaskFromVec(hn::BitCast(
        BitsTag(), hn::VecFromMask(d, hn::Gt(hn::BitCast(d, value),
                                             hn::Set(d, static_cast<std::int32_t>(limit))))));
}

struct ToBf16 {
    HWY_INLINE BitsVec operator()(BitsVec x) const {
        const auto odd = hn::And(hn::ShiftRight<16>(x), bits_of(1));
        const auto rounded = hn::Add(x, hn::Add(odd, bits_of(0x7fff)));
        const auto is_nan = is_above(hn::And(x, bits_of(0x7fffffff)), 0x7f800000);
        return hn::ShiftRight<16>(hn::IfThenElse(is_nan, hn::Or(x, bits_of(0x00400000)), rounded));
    }
};
struct ToF16 {
    HWY_INLINE BitsVec operator()(BitsVec x) const {
        const auto size = hn::And(x, bits_of(0x7fffffff));
        const auto sign = hn::ShiftRight<16>(hn::Xor(x, size));
        // Below 2^-14: adding 0.5 leaves the result, rounded, in the low bits.
        const auto small = hn::Sub(as_bits(hn::Add(as_float(size), as_float(bits_of(0x3f000000)))),
                                   bits_of(0x3f000000));
        // Else the exponent's bias changes by -112; a carry out of the mantissa is right, too.
        const auto odd = hn::And(hn::ShiftRight<13>(size), bits_of(1));
        const auto normal = hn::ShiftRight<13>(hn::Add(hn::Add(size, odd), bits_of(0xc8000fff)));
        const auto nan = hn::Or(bits_of(0x7e00), hn::And(hn::ShiftRight<13>(size), bits_of(0x3ff)));
        auto half = hn::IfThenElse(is_above(size, 0x387fffff), normal, small);
        half = hn::IfThenElse(is_above(size, 0x477fefff), bits_of(0x7c00), half);
        half = hn::IfThenElse(is_above(size, 0x7f800000), nan, half);
        return hn::Or(half, sign);
    }
};
struct FromBf16 {
    HWY_INLINE BitsVec operator()(BitsVec half) const { return hn::ShiftLeft<16>(half); }
};
struct FromF16 {
    HWY_INLINE BitsVec operator()(BitsVec half) const {
        const auto size = hn::And(half, bits_of(0x7fff));
        const auto sign = hn::ShiftLeft<16>(hn::Xor(half, size));
        const auto shifted = hn::ShiftLeft<13>(size);
        const auto normal = hn::Add(shifted, bits_of(0x38000000));
        // A denormal is its mantissa times 2^-24.
        const auto small =
            hn::Sub(as_float(hn::Add(shifted, bits_of(0x38800000))), as_float(bits_of(0x38800000)));
        auto bits = hn::IfThenElse(is_above(size, 0x3ff), normal, as_bits(small));
        bits = hn::IfThenElse(is_above(size, 0x7bff), hn::Or(shifted, bits_of(0x7f800000)), bits);
        return hn::Or(bits, sign);
    }
};

HWY_INLINE void narrow(BitsVec bits, std::uint16_t* to) {
    const hn::RebindToSigned<BitsTag> d;
    hn::StoreU(hn::DemoteTo(HalfTag(), hn::BitCast(d, bits)), HalfTag(), to);
}

template <class Operation>
void narrow_all(const float* in, std::uint16_t* out, std::size_t n) {
    constexpr std::size_t lane_count = hn::MaxLanes(BitsTag());
    std::size_t i = 0;
    for (; i + lane_count <= n; i += lane_count) {
        narrow(Operation()(as_bits(hn::LoadU(Tag<float>(), in + i))), out + i);
    }
    if (i < n) {
        HWY_ALIGN std::uint16_t halves[lane_count];
        narrow(Operation()(as_bits(load_part(in + i, n - i))), halves);
        std::memcpy(out + i, halves, (n - i) * sizeof(std::uint16_t));
    }
}

template <class Operation>
void widen_all(const std::uint16_t* in, float* out, std::size_t n) {
    constexpr std::size_t lane_count = hn::MaxLanes(BitsTag());
    std::size_t i = 0;
    for (; i + lane_count <= n; i += lane_count) {
        const auto bits = hn::PromoteTo(BitsTag(), hn::LoadU(HalfTag(), in + i));
        hn::StoreU(as_float(Operation()(bits)), Tag<float>(), out + i);
    }
    if (i < n) {
        HWY_ALIGN std::uint16_t halves[lane_count] = {};
        std::memcpy(halves, in + i, (n - i) * sizeof(std::uint16_t));
        const auto bits = hn::PromoteTo(BitsTag(), hn::Load(HalfTag(), halves));
        store_part<float>(as_float(Operation()(bits)), out + i, n - i);
    }
}

// ---- The table.

template <class Operation, typename T>
void unary(const T* in, T* out, std::size_t n, Store store) {
    transform(Operation(), store, out, n, in);
}
template <class Operation, typename T>
void binary(const T* a, const T* b, T* out, std::size_t n, Store store) {
    transform(Operation(), store, out, n, a, b);
}
template <typename T>
void fma(const T* a, const T* b, const T* c, T* out, std::size_t n, Store store) {
    transform(FmaOp(), store, out, n, a, b, c);
}
template <typename T>
void axpy(T a, const T* x, T* y, std::size_t n) {
    transform(AxpyOp<T>{a}, Store::Cached, y, n, x, static_cast<const T*>(y));
}
template <typename T>
void scale(T factor, const T* in, T* out, std::size_t n, Store store) {
    transform(ScaleOp<T>{factor}, store, out, n, in);
}

template <typename T>
constexpr VectorKernels<T> table() {
    return {.add = binary<AddOp, T>,
            .sub = binary<SubOp, T>,
            .mul = binary<MulOp, T>,
            .div = binary<DivOp, T>,
            .fma = fma<T>,
            .axpy = axpy<T>,
            .scale = scale<T>,
            .relu = unary<ReluOp<T>, T>,
            .exp = unary<ExpOp<T>, T>,
            .sigmoid = unary<SigmoidOp<T>, T>,
            .tanh = unary<TanhOp<T>, T>,
            .softmax = softmax<T>,
            .dot = dot<T>,
            .sum = sum<T>,
            .min = min<T>,
            .max = max<T>,
            .argmax = argmax<T>};
}

}  // namespace

// NOLINTNEXTLINE(misc-use-internal-linkage): the last round refers to each of them.
const SimdKernels& kernels() {
    static constexpr SimdKernels table_of_target{.f32 = table<float>(),
                                                 .f64 = table<double>(),
                                                 .to_f16 = narrow_all<ToF16>,
                                                 .to_bf16 = narrow_all<ToBf16>,
                                                 .from_f16 = widen_all<FromF16>,
                                                 .from_bf16 = widen_all<FromBf16>};
    return table_of_target;
}

}  // namespace pepita::compute::detail::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace pepita::compute::detail {

const SimdKernels& simd_kernels(SimdTarget target) {
    switch (target) {
        // NOLINTNEXTLINE(bugprone-branch-clone): clang-tidy sees one target.
        case SimdTarget::Scalar:
            return N_SCALAR::kernels();
        case SimdTarget::Sse4:
            return PEPITA_SIMD_SSE4::kernels();
        case SimdTarget::Avx2:
            return PEPITA_SIMD_AVX2::kernels();
        case SimdTarget::Avx512:
            return PEPITA_SIMD_AVX512::kernels();
    }
    std::unreachable();
}

}  // namespace pepita::compute::detail
#endif
