#pragma once

#include <cstdint>
#include <memory>

#include "compute/scheduler/atomics.h"

namespace pepita::compute {

/// A bounded queue of pointers for any number of producers and consumers, first in, first out.
///
/// Source: D. Vyukov's bounded MPMC queue. Each cell has a turn: 2n while producer number n of this
/// cell may write, 2n + 1 while its consumer may read. push() and pop() end in a seq_cst write, so
/// that a caller may look for sleepers right after it (see Sleepers).
template <typename Item, typename Atomics = HardwareAtomics>
class InjectQueue {
public:
    /// `capacity` is a power of two.
    explicit InjectQueue(std::uint32_t capacity)
        : mask_(capacity - 1), cells_(std::make_unique<Cell[]>(capacity)) {}

    /// False if the queue is full.
    bool push(Item* item) {
        std::uint64_t at = tail_.load(std::memory_order_relaxed);
        while (true) {
            Cell& cell = cells_[at & mask_];
            const std::uint64_t turn = cell.turn.load(std::memory_order_acquire);
            const std::uint64_t writable = round_of(at);
            if (turn == writable) {
                if (tail_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed,
                                                std::memory_order_relaxed)) {
                    cell.item.store(item, std::memory_order_relaxed);
                    // Releases the item to pop(); seq_cst against Sleepers::announce().
                    cell.turn.store(writable + 1, std::memory_order_seq_cst);
                    return true;
                }
            } else if (turn < writable) {
                return false;
            } else {
                at = tail_.load(std::memory_order_relaxed);
            }
        }
    }

    /// Null if the queue is empty.
    Item* pop() {
        std::uint64_t at = head_.load(std::memory_order_relaxed);
        while (true) {
            Cell& cell = cells_[at & mask_];
            const std::uint64_t turn = cell.turn.load(std::memory_order_seq_cst);
            const std::uint64_t readable = round_of(at) + 1;
            if (turn == readable) {
                if (head_.compare_exchange_weak(at, at + 1, std::memory_order_relaxed,
                                                std::memory_order_relaxed)) {
                    Item* item = cell.item.load(std::memory_order_relaxed);
                    cell.turn.store(readable + 1, std::memory_order_seq_cst);
                    return item;
                }
            } else if (turn < readable) {
                return nullptr;
            } else {
                at = head_.load(std::memory_order_relaxed);
            }
        }
    }

    /// Whether pop() would find an item. For a worker that has announced that it will sleep.
    bool is_ready() const {
        const std::uint64_t at = head_.load(std::memory_order_relaxed);
        return cells_[at & mask_].turn.load(std::memory_order_seq_cst) == round_of(at) + 1;
    }

    /// How many there are, about.
    std::uint64_t size() const {
        const std::uint64_t head = head_.load(std::memory_order_relaxed);
        const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
        return tail > head ? tail - head : 0;
    }

private:
    struct Cell {
        typename Atomics::template Atomic<std::uint64_t> turn{0};
        typename Atomics::template Atomic<Item*> item{nullptr};
    };

    std::uint64_t round_of(std::uint64_t at) const { return at / (mask_ + 1) * 2; }

    const std::uint64_t mask_;
    std::unique_ptr<Cell[]> cells_;
    alignas(kCacheLine) typename Atomics::template Atomic<std::uint64_t> tail_{0};
    alignas(kCacheLine) typename Atomics::template Atomic<std::uint64_t> head_{0};
};

}  // namespace pepita::compute
