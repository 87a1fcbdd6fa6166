#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/shared_mutex.h"
#include "kernel-abi/sys/thread_annotations.h"

namespace pepita::vmm {

/// Whether a write had its effect.
enum class Written : std::uint8_t {
    Done,
    NeedsLoop,  // nothing was done; the device loop has to
};

/// Something that answers loads and stores of the guest: MMIO, or I/O ports.
/// Offsets are relative to where it was added; an access lies wholly in what was added and is 1, 2,
/// 4 or 8 bytes long (1, 2 or 4 for ports), little-endian.
///
/// read() and write() are called on the threads of vCPUs, and on the device loop's: what they touch
/// is guarded by a lock of the target's. Their only system calls are those of vCPUs (sandbox.h), so
/// they allocate nothing and send no interrupts. A write that needs more is left to the loop.
class BusTarget {
public:
    BusTarget() = default;
    BusTarget(const BusTarget&) = delete;
    BusTarget& operator=(const BusTarget&) = delete;
    BusTarget(BusTarget&&) = delete;
    BusTarget& operator=(BusTarget&&) = delete;
    virtual ~BusTarget() = default;

    /// `into` comes filled with ones, as an empty bus reads.
    virtual void read(std::uint64_t offset, std::span<std::byte> into) = 0;
    virtual Written write(std::uint64_t offset, std::span<const std::byte> from) = 0;

    /// A write for which write() returned NeedsLoop. Thread: the device loop's.
    virtual void write_on_loop(std::uint64_t offset, std::span<const std::byte> from) {
        (void)offset;
        (void)from;
    }
};

/// Which target answers at which address. One for memory, one for ports.
/// An access that lies in no range reads ones, and its write is lost, as on a bus.
class AddressMap {
public:
    /// `target` is borrowed until remove(), or for the map's life. Thread: the device loop's.
    /// Errors: InvalidArgument for no size, a range that wraps, or one that overlaps another.
    Result<void> add(std::uint64_t start, std::uint64_t size, BusTarget& target);

    /// Removes what was added at `start`; nothing where nothing was. When it returns, no vCPU is
    /// inside the target's read() or write(). Thread: the device loop's.
    void remove(std::uint64_t start);

    /// Thread: any.
    void read(std::uint64_t at, std::span<std::byte> into) const;
    Written write(std::uint64_t at, std::span<const std::byte> from) const;

    /// A write with all its effects. The target may change the map meanwhile. Thread: the device
    /// loop's.
    void write_on_loop(std::uint64_t at, std::span<const std::byte> from) const;

private:
    struct Range {
        std::uint64_t start;
        std::uint64_t size;
        BusTarget* target;
    };
    const Range* find(std::uint64_t at, std::uint64_t length) const PEPITA_REQUIRES_SHARED(mutex_);

    // Held while a target answers, so that it is not removed meanwhile; taken before a target's own
    // lock. The loop alone changes the ranges: what it finds stays without the lock.
    mutable SharedMutex mutex_;
    std::vector<Range> ranges_ PEPITA_GUARDED_BY(mutex_);  // by start, disjoint
};

}  // namespace pepita::vmm
