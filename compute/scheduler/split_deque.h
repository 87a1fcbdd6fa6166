#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "compute/scheduler/atomics.h"

namespace pepita::compute {

/// The jobs that one worker has spawned and not joined, newest at the head. The owner works at the
/// head, thieves take from the tail.
///
/// A Chase-Lev deque pays a full fence for every pop, which is most of the cost of a spawn. Here
/// the deque has two parts, as in Lace (van Dijk and van de Pol, Euro-Par MuSeSe 2014): [tail,
/// split) is shared, [split, head) is private to the owner, who pushes and pops there without any
/// fence. Only moving the split is atomic:
///   share()  gives half of the private part to thieves, if one asked or nothing is shared;
///   pop()    takes one shared job back if the private part is empty.
/// Tail and split are one word, and every change of a word with tail < split is one
/// compare-exchange or addition, so no order of two accesses matters. While tail == split, thieves
/// change nothing and the owner alone may store.
///
/// Two rules are easy to break, and the model test has a mutant for each:
///  - A thief reads the slot after its compare-exchange. Before it, the owner could have joined
///  that
///    job and pushed another to the same place under an identical word.
///  - A stolen job stays in its slot until it is joined. Then retract() moves the split back to the
///    head, or the next push would lie below the split.
///
/// Positions are not reused before their job was joined, because joins are strictly nested. So they
/// are plain indexes below the capacity, and the place of a job is its depth.
template <typename Item, typename Atomics = HardwareAtomics>
class SplitDeque {
public:
    explicit SplitDeque(std::uint32_t capacity)
        : slots_(std::make_unique<Slot[]>(capacity)), end_(slots_.get() + capacity) {}

    // Owner only.

    /// False if the deque is full: run the job at once.
    bool push(Item* item) {
        Slot* const at = head_;
        if (at == end_) [[unlikely]] {
            return false;
        }
        at->store(item, std::memory_order_relaxed);
        head_ = at + 1;
        return true;
    }

    /// Takes the newest job back. False if it was stolen: wait for its end, then retract().
    bool pop() {
        if (head_ != split_ || reclaim()) [[likely]] {
            --head_;
            return true;
        }
        return false;
    }

    /// Removes the newest job, which was stolen and is complete.
    void retract() {
        --head_;
        split_ = head_;
        const auto depth = static_cast<std::uint32_t>(head_ - slots_.get());
        // relaxed: with tail == split nothing is published. share() releases later.
        word_.store(pack(depth, depth), std::memory_order_relaxed);
    }

    bool is_requested() const { return wanted_.load(std::memory_order_relaxed) != 0; }

    /// Whether share() is due after a push: a thief asked, or there is nothing for the next one.
    bool should_share() const { return is_requested() || (head_ - split_ == 1 && !has_shared()); }

    /// Gives the older half of the private part to thieves. False if there is no private part.
    /// The caller wakes a sleeping worker afterwards.
    bool share() { return share((head_ - split_ + 1) / 2); }
    bool share_all() { return share(head_ - split_); }

    // Any thread.

    /// The oldest shared job, or null if there is none or another thief was faster.
    Item* steal() {
        std::uint64_t word = word_.load(std::memory_order_acquire);
        const std::uint32_t tail = tail_of(word);
        if (tail == split_of(word)) {
            return nullptr;
        }
        // Acquires what share() released.
        if (!word_.compare_exchange_strong(word, word + 1, std::memory_order_seq_cst,
                                           std::memory_order_relaxed)) {
            return nullptr;
        }
        return slots_.get()[tail].load(std::memory_order_relaxed);
    }

    bool has_shared() const {
        const std::uint64_t word = word_.load(std::memory_order_seq_cst);
        return tail_of(word) != split_of(word);
    }

    /// Asks the owner to share.
    void request() {
        if (wanted_.load(std::memory_order_seq_cst) == 0) {
            wanted_.store(1, std::memory_order_release);
        }
    }

private:
    using Slot = typename Atomics::template Atomic<Item*>;

    static std::uint32_t tail_of(std::uint64_t word) { return static_cast<std::uint32_t>(word); }
    static std::uint32_t split_of(std::uint64_t word) {
        return static_cast<std::uint32_t>(word >> 32U);
    }
    static std::uint64_t pack(std::uint32_t tail, std::uint32_t split) {
        return tail | (static_cast<std::uint64_t>(split) << 32U);
    }

    bool share(std::ptrdiff_t count) {
        if (count == 0) {
            return false;
        }
        // Before the jobs are shared: a request after that must stay.
        wanted_.exchange(0, std::memory_order_seq_cst);
        // Releases the slots to steal(). seq_cst: against Sleepers::announce(), then has_shared().
        word_.fetch_add(static_cast<std::uint64_t>(count) << 32U, std::memory_order_seq_cst);
        split_ += count;
        return true;
    }

    [[gnu::noinline]] bool reclaim() {
        std::uint64_t word = word_.load(std::memory_order_relaxed);
        while (tail_of(word) != split_of(word)) {
            const std::uint32_t below = split_of(word) - 1;
            if (word_.compare_exchange_weak(word, pack(tail_of(word), below),
                                            std::memory_order_acq_rel, std::memory_order_relaxed)) {
                split_ = slots_.get() + below;
                return true;
            }
        }
        return false;
    }

    const std::unique_ptr<Slot[]> slots_;
    Slot* const end_;
    Slot* head_ = slots_.get();
    Slot* split_ = slots_.get();  // as the word has it
    alignas(kCacheLine) typename Atomics::template Atomic<std::uint64_t> word_{0};
    alignas(kCacheLine) typename Atomics::template Atomic<std::uint32_t> wanted_{0};
};

}  // namespace pepita::compute
