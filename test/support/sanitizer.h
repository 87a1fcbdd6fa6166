#pragma once

#include <gtest/gtest.h>

/// A sanitizer's runtime makes calls of its own, for which the filters of the product end it.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PEPITA_SKIP_UNDER_SANITIZERS() \
    GTEST_SKIP() << "syscall filters do not allow what a sanitizer's runtime calls"
inline constexpr bool kIsSanitized = true;
#else
#define PEPITA_SKIP_UNDER_SANITIZERS() static_cast<void>(0)
inline constexpr bool kIsSanitized = false;
#endif
