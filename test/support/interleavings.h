#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

namespace pepita::test {

/// What the model runs: bodies that share state, and a claim about the state after all have ended.
/// Bodies keep no owning objects in locals: a run that is cut short does not unwind them.
struct Scenario {
    std::vector<std::function<void()>> threads;
    std::function<void()> at_end = [] {};
};

struct Exploration {
    std::uint64_t runs = 0;
    std::string failure;  // empty if every run kept its claims
};

/// Runs `make()`'s scenario in every order of its atomic operations that x86 allows: each thread
/// has a store buffer (x86-TSO, Owens, Sarkar, Sewell 2009), which locked instructions empty.
/// Orders that differ only in operations that commute run once (sleep sets, Godefroid 1996). Stops
/// at the first failure: a claim that is wrong, or threads that wait for ever.
///
/// What it does not see: reorderings that other processors do and x86 does not; TSan covers some.
Exploration explore(const std::function<Scenario()>& make);

/// A claim, within a body or at the end.
void claim(bool holds, const char* what);

namespace model {

/// One word of memory. Outside of a run, operations are plain.
class Cell {
public:
    explicit Cell(std::uint64_t value) : value_(value) {}
    std::uint64_t load() const;
    void store_buffered(std::uint64_t value);
    /// With the thread's store buffer empty, and nothing else between read and write.
    std::uint64_t exchange_with(const std::function<std::uint64_t(std::uint64_t)>& change);
    void wait_while(std::uint64_t value) const;

private:
    friend class Run;
    std::uint64_t value_;
};

}  // namespace model

/// The policy that compute/scheduler's templates take in place of HardwareAtomics.
struct ModelAtomics {
    template <typename T>
    class Atomic {
    public:
        Atomic() : cell_(raw(T{})) {}
        explicit(false) Atomic(T value) : cell_(raw(value)) {}

        T load(std::memory_order) const { return value(cell_.load()); }
        void store(T desired, std::memory_order order) {
            if (order == std::memory_order_seq_cst) {
                exchange(desired, order);  // as compilers do it
            } else {
                cell_.store_buffered(raw(desired));
            }
        }
        T exchange(T desired, std::memory_order) {
            return change([&](T) { return desired; });
        }
        T fetch_add(T more, std::memory_order) {
            return change([&](T old) { return static_cast<T>(old + more); });
        }
        T fetch_or(T mask, std::memory_order) {
            return change([&](T old) { return static_cast<T>(old | mask); });
        }
        T fetch_and(T mask, std::memory_order) {
            return change([&](T old) { return static_cast<T>(old & mask); });
        }
        bool compare_exchange_strong(T& expected, T desired, std::memory_order, std::memory_order) {
            const T before = change([&](T old) { return old == expected ? desired : old; });
            const bool same = before == expected;
            expected = before;
            return same;
        }
        bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                                   std::memory_order failure) {
            return compare_exchange_strong(expected, desired, success, failure);
        }

    private:
        friend struct ModelAtomics;
        static std::uint64_t raw(T typed) {
            std::uint64_t bits = 0;
            std::memcpy(&bits, &typed, sizeof typed);
            return bits;
        }
        static T value(std::uint64_t bits) {
            T typed{};
            std::memcpy(&typed, &bits, sizeof typed);
            return typed;
        }
        template <typename Change>
        T change(Change&& change) {
            return value(
                cell_.exchange_with([&](std::uint64_t old) { return raw(change(value(old))); }));
        }

        model::Cell cell_;
    };

    static void wait(Atomic<std::uint32_t>& word, std::uint32_t old) { word.cell_.wait_while(old); }
    static void wake(Atomic<std::uint32_t>&) {}  // wait_while() sees the store itself
};

}  // namespace pepita::test
