#pragma once

#include <functional>

#include "kernel-abi/sys/result.h"

namespace pepita::runtime {

/// How an asynchronous call answers: once, on the thread of its channel.
template <typename T>
using OnResult = std::move_only_function<void(Result<T>)>;

}  // namespace pepita::runtime
