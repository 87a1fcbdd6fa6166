#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "compute/task.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {

/// One operation on vectors of float, by its name.
struct SimdCall {
    /// add, sub, mul, div, fma, dot, sum, min, max, argmax, relu, exp, sigmoid, tanh or softmax.
    std::string operation;
    /// As many as the operation has, in its order.
    std::vector<std::vector<float>> operands;
};

/// The body of a task that computes `call` on the best target of the processor. Its output is the
/// result's bytes: the floats of a vector, one float, or the std::uint64_t of argmax.
/// Errors: InvalidArgument for a name that is not known, a wrong number of operands, or what the
/// operation itself refuses; the last when the task runs.
Result<FunctionWork> simd_work(SimdCall call);

}  // namespace pepita::compute
