#include "kernel-abi/virtio/ring.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/uapi/virtio_ring.h"
#include "kernel-abi/virtio/chain.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "kernel-abi/virtio/vhost_user/inflight.h"

// The ring lies in memory that the guest writes while we read, so two rules hold in this file.
//
// One: each field of the guest's is loaded once into a local, and only the local is checked and
// used. The loads are atomic (or copy_once), or the compiler might load again after the check.
//
// Two: indices are a conversation between CPUs.
//   driver: write descriptors, entry | release | available.idx      us: acquire idx | read them
//   us: write the used element       | release | used.idx           driver: acquire idx | read it
// and each side, before it goes to sleep or leaves the other asleep, does a store and then a load
// of what the other one stores. That takes a full barrier on both sides (virtio 1.2 §2.7.10,
// §2.7.13.4.1), else both see the old value and both wait:
//   us: used.idx    | full | used_event, available.flags    driver: used_event  | full | used.idx
//   us: avail_event | full | available.idx                  driver: available.idx | full |
//   avail_event

namespace pepita::virtio {
namespace {

using abi::VirtqDesc;
using abi::VirtqUsedElement;

// may_alias: the bytes belong to the guest, not to any object of ours.
using GuestU16 [[gnu::may_alias]] = std::uint16_t;
using GuestU32 [[gnu::may_alias]] = std::uint32_t;

// SAFETY: `part` is a whole ring part in RAM, aligned for its widest field; open() checked both.
// Offsets come from a masked index or a constant, so they stay inside.
GuestU16* u16_at(std::span<std::byte> part, std::size_t offset) {
    return reinterpret_cast<GuestU16*>(part.subspan(offset, sizeof(std::uint16_t)).data());
}
GuestU32* u32_at(std::span<std::byte> part, std::size_t offset) {
    return reinterpret_cast<GuestU32*>(part.subspan(offset, sizeof(std::uint32_t)).data());
}

std::uint16_t load_relaxed(const GuestU16* from) { return __atomic_load_n(from, __ATOMIC_RELAXED); }
std::uint16_t load_acquire(const GuestU16* from) { return __atomic_load_n(from, __ATOMIC_ACQUIRE); }
// NOLINTBEGIN(readability-non-const-parameter): the check does not know that the builtins write
void store_relaxed(GuestU16* to, std::uint16_t value) {
    __atomic_store_n(to, value, __ATOMIC_RELAXED);
}
void store_release(GuestU16* to, std::uint16_t value) {
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
}
void store_relaxed(GuestU32* to, std::uint32_t value) {
    __atomic_store_n(to, value, __ATOMIC_RELAXED);
}
// NOLINTEND(readability-non-const-parameter)

void full_barrier() {
#ifdef __SANITIZE_THREAD__
#pragma GCC diagnostic ignored \
    "-Wtsan"  // fences are invisible to TSan; the other side is no thread
#endif
    std::atomic_thread_fence(std::memory_order_seq_cst);
}

/// One part of the ring as we shall use it. Errors: as Ring::open().
Result<std::span<std::byte>> open_part(const GuestMemory& memory, GuestAddress at, Bytes length,
                                       std::size_t align) {
    const std::span<std::byte> part = TRY(memory.span_at(at, length));
    // Both: a region may be mapped at a lesser alignment than the guest sees.
    // SAFETY: the pointer is asked for its alignment only.
    if (std::to_underlying(at) % align != 0 ||
        reinterpret_cast<std::uintptr_t>(part.data()) % align != 0) {
        return Error(Code::InvalidArgument, "address " + std::to_string(std::to_underlying(at)) +
                                                " is not aligned to " + std::to_string(align));
    }
    return part;
}

/// What the descriptors of one chain amount to so far.
struct Gathered {
    Chain::Memory parts;
    std::size_t descriptors = 0;
    std::uint64_t bytes = 0;
    bool saw_writable = false;  // a zero-length descriptor has no segment, but a place in the order
};

enum class Table : std::uint8_t { Queue, Indirect };

// What is kept of a chain that went, for the next one: not of those that are much longer than most.
constexpr std::size_t kKeptSegments = 8;

}  // namespace

struct Ring::State {
    const GuestMemory& memory;
    std::uint16_t size;
    bool has_event_idx;
    bool has_indirect;
    std::span<std::byte> descriptors;
    std::span<std::byte> available;
    std::span<std::byte> used;
    std::uint16_t next_available;  // free-running, as all indices: they wrap at 2^16
    std::uint16_t next_used;
    std::vector<bool> is_taken;   // by head
    std::uint32_t completed = 0;  // since should_interrupt() was asked last
    bool is_broken = false;
    std::optional<InflightQueue> inflight;
    std::vector<std::uint16_t> again;  // heads of a predecessor's, the first to serve last
    std::vector<Chain::Memory> spare;  // empty; of chains that went

    std::uint16_t slot(std::uint16_t index) const {
        return static_cast<std::uint16_t>(index & (size - 1U));
    }
    std::uint16_t load_available_idx() const {
        return load_acquire(u16_at(available, abi::kVirtqIdxOffset));
    }
    bool append(std::vector<Chain::Segment>& to, std::uint64_t at, std::uint64_t length) const;
    bool gather(const VirtqDesc& descriptor, Gathered& gathered) const;
    bool follow(Table kind, std::span<const std::byte> table, std::uint16_t first,
                Gathered& gathered) const;
    bool follow_indirect(const VirtqDesc& descriptor, Gathered& gathered) const;
    std::optional<Chain> take(std::uint16_t head);
    std::optional<Chain> take_next();
    std::optional<Chain> take_again();
    void keep(Chain::Memory memory_of_chain);
    void put_used(Chain chain, std::uint32_t written);
};

/// The next chains need not ask the heap for what the last ones had of it.
void Ring::State::keep(Chain::Memory memory_of_chain) {
    if (memory_of_chain.readable.capacity() <= kKeptSegments &&
        memory_of_chain.writable.capacity() <= kKeptSegments) {
        memory_of_chain.readable.clear();
        memory_of_chain.writable.clear();
        spare.push_back(std::move(memory_of_chain));
    }
}

/// False where a byte is outside RAM. A buffer may cross from one region into an adjacent one,
/// which is mapped elsewhere: it becomes two segments.
bool Ring::State::append(std::vector<Chain::Segment>& to, std::uint64_t at,
                         std::uint64_t length) const {
    for (const MemoryRegion& region : memory.regions()) {  // by address
        if (length == 0) {
            break;
        }
        const std::uint64_t offset = at - std::to_underlying(region.start);
        if (offset >= region.bytes.size()) {
            continue;
        }
        const std::uint64_t here = std::min(length, std::uint64_t{region.bytes.size()} - offset);
        to.push_back(region.bytes.subspan(offset, here));
        at += here;  // cannot wrap: no region does
        length -= here;
    }
    return length == 0;
}

bool Ring::State::gather(const VirtqDesc& descriptor, Gathered& gathered) const {
    const bool is_writable = (descriptor.flags & abi::kVirtqDescWrite) != 0;
    ++gathered.descriptors;
    gathered.bytes += descriptor.length;
    if (gathered.descriptors > size ||  // a loop too ends here (virtio 1.2 §2.7.5.3.1)
        gathered.bytes > std::numeric_limits<std::uint32_t>::max() ||
        (gathered.saw_writable && !is_writable)) {  // §2.7.4.2
        return false;
    }
    gathered.saw_writable = is_writable;
    return append(is_writable ? gathered.parts.writable : gathered.parts.readable,
                  descriptor.address, descriptor.length);
}

bool Ring::State::follow_indirect(const VirtqDesc& descriptor, Gathered& gathered) const {
    // §2.7.5.3.1. The write flag of the descriptor that refers to the table means nothing.
    const std::uint32_t length = descriptor.length;
    if (!has_indirect || (descriptor.flags & abi::kVirtqDescNext) != 0 || length == 0 ||
        length % sizeof(VirtqDesc) != 0 || length / sizeof(VirtqDesc) > size) {
        return false;
    }
    const auto table = memory.span_at(GuestAddress{descriptor.address}, Bytes(length));
    return table.has_value() && follow(Table::Indirect, *table, 0, gathered);
}

/// False where the driver broke a rule. Ends: every round counts a descriptor, and those are
/// bounded by the queue's size.
bool Ring::State::follow(Table kind, std::span<const std::byte> table, std::uint16_t first,
                         Gathered& gathered) const {
    std::uint16_t index = first;
    for (;;) {
        if (index >= table.size() / sizeof(VirtqDesc)) {
            return false;
        }
        VirtqDesc descriptor;
        copy_once(std::as_writable_bytes(std::span(&descriptor, 1)),
                  table.subspan(index * sizeof(VirtqDesc), sizeof(VirtqDesc)));
        if ((descriptor.flags & abi::kVirtqDescIndirect) != 0) {
            return kind == Table::Queue && follow_indirect(descriptor, gathered);
        }
        if (!gather(descriptor, gathered)) {
            return false;
        }
        if ((descriptor.flags & abi::kVirtqDescNext) == 0) {
            return true;
        }
        index = descriptor.next;
    }
}

/// The chain at `head`, or nothing where it breaks a rule.
std::optional<Chain> Ring::State::take(std::uint16_t head) {
    // A head that is still with us would give two requests one identity.
    if (head >= size || is_taken[head]) {
        return std::nullopt;
    }
    Gathered gathered;
    if (!spare.empty()) {
        gathered.parts = std::move(spare.back());
        spare.pop_back();
    }
    if (!follow(Table::Queue, descriptors, head, gathered)) {
        return std::nullopt;
    }
    is_taken[head] = true;
    return Chain(head, std::move(gathered.parts.readable), std::move(gathered.parts.writable));
}

/// The next chain, known to be there.
std::optional<Chain> Ring::State::take_next() {
    const std::size_t entry =
        abi::kVirtqEntriesOffset + sizeof(std::uint16_t) * slot(next_available);
    const std::uint16_t head = load_relaxed(u16_at(available, entry));
    std::optional<Chain> chain = take(head);
    if (chain) {
        ++next_available;
        if (inflight) {
            inflight->take(head);
        }
    }
    return chain;
}

/// The next of a predecessor's chains: it stands in the books already.
std::optional<Chain> Ring::State::take_again() {
    std::optional<Chain> chain = take(again.back());
    if (chain) {
        again.pop_back();
    }
    return chain;
}

Result<Ring> Ring::open(const GuestMemory& memory, const RingGeometry& geometry,
                        std::uint64_t features, std::optional<InflightQueue> inflight) {
    const std::uint16_t size = geometry.size;
    if (!std::has_single_bit(size) || size > abi::kVirtqSizeMax) {
        return Error(Code::InvalidArgument,
                     "queue size " + std::to_string(size) + " is no power of two up to 32768");
    }
    const std::span<std::byte> descriptors =
        TRY(open_part(memory, geometry.descriptors, Bytes(abi::virtq_desc_bytes(size)),
                      abi::kVirtqDescAlign),
            "descriptor table");
    const std::span<std::byte> available =
        TRY(open_part(memory, geometry.available, Bytes(abi::virtq_avail_bytes(size)),
                      abi::kVirtqAvailAlign),
            "available ring");
    const std::span<std::byte> used = TRY(
        open_part(memory, geometry.used, Bytes(abi::virtq_used_bytes(size)), abi::kVirtqUsedAlign),
        "used ring");
    std::uint16_t next_used = geometry.next;
    std::uint16_t next_available = geometry.next;
    std::vector<std::uint16_t> again;
    if (inflight) {
        if (inflight->size() < size) {
            return Error(Code::InvalidArgument,
                         "in-flight region is for " + std::to_string(inflight->size()) +
                             " descriptors, and the queue has " + std::to_string(size));
        }
        next_used = load_acquire(u16_at(used, abi::kVirtqIdxOffset));
        again = inflight->recover(next_used);
        next_available = static_cast<std::uint16_t>(next_used + again.size());
        std::ranges::reverse(again);
    }
    return Ring(std::make_unique<State>(State{
        .memory = memory,
        .size = size,
        .has_event_idx = (features & abi::kVirtioFEventIdx) != 0,
        .has_indirect = (features & abi::kVirtioFIndirectDesc) != 0,
        .descriptors = descriptors,
        .available = available,
        .used = used,
        // Whoever stopped before us completed all that it took, so the two indices are one. The
        // guest's copy of used.idx is not asked: it is ours to write. Who was killed left the books
        // of what it took instead.
        .next_available = next_available,
        .next_used = next_used,
        .is_taken = std::vector<bool>(size),
        .inflight = inflight,
        .again = std::move(again),
        .spare = {},
    }));
}

std::optional<Chain> Ring::pop() {
    State& ring = *state_;
    if (ring.is_broken) {
        return std::nullopt;
    }
    std::optional<Chain> chain;
    if (!ring.again.empty()) {
        chain = ring.take_again();
    } else {
        const auto waiting =
            static_cast<std::uint16_t>(ring.load_available_idx() - ring.next_available);
        if (waiting == 0) {
            return std::nullopt;
        }
        if (waiting <= ring.size) {
            chain = ring.take_next();
        }
    }
    ring.is_broken = !chain.has_value();
    return chain;
}

/// Writes the next used element, which the driver does not see yet.
void Ring::State::put_used(Chain chain, std::uint32_t written) {
    const std::uint16_t head = chain.head();
    CHECK(head < size);
    CHECK(is_taken[head]);
    keep(std::move(chain).take_apart());
    is_taken[head] = false;
    const std::size_t entry = abi::kVirtqEntriesOffset + sizeof(VirtqUsedElement) * slot(next_used);
    store_relaxed(u32_at(used, entry + offsetof(VirtqUsedElement, id)), head);
    store_relaxed(u32_at(used, entry + offsetof(VirtqUsedElement, length)), written);
    ++next_used;
    completed += completed < std::numeric_limits<std::uint32_t>::max() ? 1U : 0U;
}

void Ring::complete(std::span<Completion> completions) {
    State& ring = *state_;
    if (ring.inflight) {  // its table knows of one head at a time
        for (Completion& completion : completions) {
            complete(std::move(completion.chain), completion.written);
        }
        return;
    }
    for (Completion& completion : completions) {
        ring.put_used(std::move(completion.chain), completion.written);
    }
    // Pairs with the driver's acquire of used.idx, as in complete() of one.
    store_release(u16_at(ring.used, abi::kVirtqIdxOffset), ring.next_used);
}

void Ring::complete(Chain chain, std::uint32_t written) {
    State& ring = *state_;
    const std::uint16_t head = chain.head();
    ring.put_used(std::move(chain), written);
    if (ring.inflight) {
        ring.inflight->before_used(head);
    }
    // Pairs with the driver's acquire of used.idx: it sees the element and the payload.
    store_release(u16_at(ring.used, abi::kVirtqIdxOffset), ring.next_used);
    if (ring.inflight) {
        ring.inflight->after_used(head, ring.next_used);
    }
}

bool Ring::should_interrupt() {
    State& ring = *state_;
    const std::uint32_t completed = std::exchange(ring.completed, 0);
    if (completed == 0) {
        return false;
    }
    full_barrier();  // used.idx is out before we ask; pairs with the driver's, see the top
    if (!ring.has_event_idx) {
        const std::uint16_t flags = load_relaxed(u16_at(ring.available, abi::kVirtqFlagsOffset));
        return (flags & abi::kVirtqAvailNoInterrupt) == 0;
    }
    if (completed > std::numeric_limits<std::uint16_t>::max()) {
        return true;  // all the way round: every event was passed
    }
    const std::uint16_t event =
        load_relaxed(u16_at(ring.available, abi::virtq_used_event_offset(ring.size)));
    return abi::virtq_passed_event(event, ring.next_used,
                                   static_cast<std::uint16_t>(ring.next_used - completed));
}

bool Ring::enable_kicks() {
    State& ring = *state_;
    if (ring.has_event_idx) {
        store_relaxed(u16_at(ring.used, abi::virtq_avail_event_offset(ring.size)),
                      ring.next_available);
    } else {
        store_relaxed(u16_at(ring.used, abi::kVirtqFlagsOffset), 0);
    }
    full_barrier();  // the wish is out before we look again; pairs with the driver's
    return !ring.is_broken &&
           (!ring.again.empty() || ring.load_available_idx() != ring.next_available);
}

void Ring::disable_kicks() {
    // With VIRTIO_F_EVENT_IDX there is nothing to say: avail_event stays behind, and the driver
    // kicks only where it passes it.
    if (!state_->has_event_idx) {
        store_relaxed(u16_at(state_->used, abi::kVirtqFlagsOffset), abi::kVirtqUsedNoNotify);
    }
}

bool Ring::is_broken() const { return state_->is_broken; }
std::uint16_t Ring::size() const { return state_->size; }
std::uint16_t Ring::next_available() const { return state_->next_available; }
std::size_t Ring::inherited() const { return state_->again.size(); }

Ring::Ring(std::unique_ptr<State> state) : state_(std::move(state)) {}
Ring::Ring(Ring&&) noexcept = default;
Ring& Ring::operator=(Ring&&) noexcept = default;
Ring::~Ring() = default;

}  // namespace pepita::virtio
