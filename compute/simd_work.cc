#include "compute/simd_work.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>

#include "compute/simd.h"

namespace pepita::compute {
namespace {

using Ops = VectorOps<float>;
using Operands = std::vector<std::vector<float>>;

template <typename T>
std::string bytes_of(std::span<const T> values) {
    std::string bytes(values.size_bytes(), '\0');
    if (!bytes.empty()) {
        std::memcpy(bytes.data(), values.data(), bytes.size());
    }
    return bytes;
}
template <typename T>
std::string bytes_of(T value) {
    return bytes_of(std::span<const T>(&value, 1));
}

// Each computes in place of its first operand.
template <Result<void> (Ops::*Operation)(Ops::In, Ops::Out) const>
Result<std::string> unary(const Ops& ops, Operands& in) {
    TRY((ops.*Operation)(in[0], in[0]));
    return bytes_of(std::span<const float>(in[0]));
}
template <Result<void> (Ops::*Operation)(Ops::In, Ops::In, Ops::Out) const>
Result<std::string> binary(const Ops& ops, Operands& in) {
    TRY((ops.*Operation)(in[0], in[1], in[0]));
    return bytes_of(std::span<const float>(in[0]));
}
Result<std::string> fma(const Ops& ops, Operands& in) {
    TRY(ops.fma(in[0], in[1], in[2], in[0]));
    return bytes_of(std::span<const float>(in[0]));
}
Result<std::string> dot(const Ops& ops, Operands& in) {
    return bytes_of(TRY(ops.dot(in[0], in[1])));
}
Result<std::string> sum(const Ops& ops, Operands& in) { return bytes_of(ops.sum(in[0])); }
Result<std::string> min(const Ops& ops, Operands& in) { return bytes_of(TRY(ops.min(in[0]))); }
Result<std::string> max(const Ops& ops, Operands& in) { return bytes_of(TRY(ops.max(in[0]))); }
Result<std::string> argmax(const Ops& ops, Operands& in) {
    return bytes_of(static_cast<std::uint64_t>(TRY(ops.argmax(in[0]))));
}

struct Entry {
    std::string_view name;
    std::size_t operands;
    Result<std::string> (*run)(const Ops& ops, Operands& operands);
};
constexpr std::array kOperations{
    Entry{.name = "add", .operands = 2, .run = binary<&Ops::add>},
    Entry{.name = "sub", .operands = 2, .run = binary<&Ops::sub>},
    Entry{.name = "mul", .operands = 2, .run = binary<&Ops::mul>},
    Entry{.name = "div", .operands = 2, .run = binary<&Ops::div>},
    Entry{.name = "fma", .operands = 3, .run = fma},
    Entry{.name = "dot", .operands = 2, .run = dot},
    Entry{.name = "sum", .operands = 1, .run = sum},
    Entry{.name = "min", .operands = 1, .run = min},
    Entry{.name = "max", .operands = 1, .run = max},
    Entry{.name = "argmax", .operands = 1, .run = argmax},
    Entry{.name = "relu", .operands = 1, .run = unary<&Ops::relu>},
    Entry{.name = "exp", .operands = 1, .run = unary<&Ops::exp>},
    Entry{.name = "sigmoid", .operands = 1, .run = unary<&Ops::sigmoid>},
    Entry{.name = "tanh", .operands = 1, .run = unary<&Ops::tanh>},
    Entry{.name = "softmax", .operands = 1, .run = unary<&Ops::softmax>},
};

}  // namespace

Result<FunctionWork> simd_work(SimdCall call) {
    const auto entry = std::find_if(kOperations.begin(), kOperations.end(),
                                    [&](const Entry& each) { return each.name == call.operation; });
    if (entry == kOperations.end()) {
        return Error(Code::InvalidArgument, "no SIMD operation '" + call.operation + "'");
    }
    if (call.operands.size() != entry->operands) {
        return Error(Code::InvalidArgument, "SIMD operation '" + call.operation + "' of " +
                                                std::to_string(call.operands.size()) +
                                                " operands: it has " +
                                                std::to_string(entry->operands));
    }
    return FunctionWork([run = entry->run, operands = std::move(call.operands)](const Attempt&) {
        Operands copy = operands;  // another attempt begins with the same
        return run(SimdOps().f32, copy);
    });
}

}  // namespace pepita::compute
