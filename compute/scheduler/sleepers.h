#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "compute/scheduler/atomics.h"

namespace pepita::compute {

/// The workers that have nothing to do, and who wakes which of them.
///
/// A worker announces itself, looks for work once more, and only then sleeps. A producer publishes
/// its work and then looks for a sleeper. Both write before they read, in the total order of
/// seq_cst, so at least one of them sees the other: no wake-up is lost.
///
/// The producer claims the sleeper's bit before it makes the system call. So many producers wake
/// one worker once: without that, a submit costs 20 times as much.
template <typename Atomics = HardwareAtomics, std::uint32_t Words = 4>
class Sleepers {
public:
    static constexpr std::uint32_t kWorkersMax = Words * 64;

    /// The worker is going to sleep unless it finds work now. Then: withdraw() or await_wake().
    void announce(std::uint32_t worker) {
        idle_[worker / 64].fetch_or(bit(worker), std::memory_order_seq_cst);
    }

    /// The worker found work after all. True if a producer had claimed it meanwhile: that
    /// producer's work may be other work, so the caller then wakes another worker.
    bool withdraw(std::uint32_t worker) {
        const std::uint64_t before =
            idle_[worker / 64].fetch_and(~bit(worker), std::memory_order_seq_cst);
        if ((before & bit(worker)) != 0) {
            return false;
        }
        await_wake(worker);  // the wake-up is on its way
        return true;
    }

    /// Waits until a producer claims the worker.
    void await_wake(std::uint32_t worker) {
        auto& woken = woken_[worker].word;
        while (woken.load(std::memory_order_acquire) == 0) {
            Atomics::wait(woken, 0);
        }
        woken.store(0, std::memory_order_relaxed);
    }

    /// Of a moment that may be over.
    std::uint32_t count() const {
        std::uint32_t count = 0;
        for (const auto& word : idle_) {
            count += static_cast<std::uint32_t>(
                std::popcount(std::uint64_t{word.load(std::memory_order_relaxed)}));
        }
        return count;
    }

    bool any() const {
        for (const auto& word : idle_) {
            if (word.load(std::memory_order_seq_cst) != 0) {
                return true;
            }
        }
        return false;
    }

    /// Wakes one sleeper if there is one. Call it after the work was published by a seq_cst write.
    bool wake_one() {
        for (std::uint32_t index = 0; index < Words; ++index) {
            std::uint64_t idle = idle_[index].load(std::memory_order_seq_cst);
            while (idle != 0) {
                const auto lowest = static_cast<std::uint32_t>(std::countr_zero(idle));
                if (claim(index * 64 + lowest)) {
                    return true;
                }
                idle = idle_[index].load(std::memory_order_seq_cst);
            }
        }
        return false;
    }

    /// Wakes this worker if it sleeps.
    bool wake(std::uint32_t worker) {
        const std::uint64_t idle = idle_[worker / 64].load(std::memory_order_seq_cst);
        return (idle & bit(worker)) != 0 && claim(worker);
    }

private:
    static std::uint64_t bit(std::uint32_t worker) { return 1ULL << (worker % 64); }

    bool claim(std::uint32_t worker) {
        const std::uint64_t before =
            idle_[worker / 64].fetch_and(~bit(worker), std::memory_order_seq_cst);
        if ((before & bit(worker)) == 0) {
            return false;
        }
        auto& woken = woken_[worker].word;
        woken.store(1, std::memory_order_release);  // pairs with acquire in await_wake()
        Atomics::wake(woken);
        return true;
    }

    struct alignas(kCacheLine) Woken {
        typename Atomics::template Atomic<std::uint32_t> word{0};
    };
    alignas(kCacheLine) std::array<typename Atomics::template Atomic<std::uint64_t>, Words> idle_{};
    std::array<Woken, kWorkersMax> woken_{};
};

}  // namespace pepita::compute
