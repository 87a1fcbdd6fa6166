#pragma once

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <climits>
#include <cstdint>

namespace pepita::compute {

/// What the scheduler's data structures are built on. They are templates over it, so that
/// test/support/interleavings.h runs the same code through every order that x86 allows.
struct HardwareAtomics {
    template <typename T>
    using Atomic = std::atomic<T>;

    /// Waits until `word` may differ from `old`. It can return early.
    static void wait(std::atomic<std::uint32_t>& word, std::uint32_t old) {
        ::syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
    }
    /// Wakes every thread that waits for `word`. The word may be on a stack that has returned: who
    /// waits at the same address now wakes early, which wait() permits.
    static void wake(std::atomic<std::uint32_t>& word) {
        ::syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
    }
};

/// Two of them never share a cache line, nor the pair of lines that Intel fetches together.
inline constexpr std::size_t kCacheLine = 128;

}  // namespace pepita::compute
