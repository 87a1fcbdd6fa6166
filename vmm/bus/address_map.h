#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernel-abi/sys/result.h"

namespace pepita::vmm {

/// Something that answers loads and stores of the guest: MMIO, or I/O ports.
/// Offsets are relative to where it was added; an access lies wholly in what was added and is 1, 2,
/// 4 or 8 bytes long (1, 2 or 4 for ports), little-endian.
/// Thread: the device loop's.
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
    virtual void write(std::uint64_t offset, std::span<const std::byte> from) = 0;
};

/// Which target answers at which address. One for memory, one for ports. A target may change the
/// map while it is being called.
class AddressMap {
public:
    /// `target` is borrowed until remove(), or for the map's life.
    /// Errors: InvalidArgument for no size, a range that wraps, or one that overlaps another.
    Result<void> add(std::uint64_t start, std::uint64_t size, BusTarget& target);

    /// Takes away what was added at `start`; nothing where nothing was.
    void remove(std::uint64_t start);

    /// Where nothing answers, or an access is not wholly in one range, reads give ones and writes
    /// are lost, as on a bus. False then.
    bool read(std::uint64_t at, std::span<std::byte> into) const;
    bool write(std::uint64_t at, std::span<const std::byte> from) const;

private:
    struct Range {
        std::uint64_t start;
        std::uint64_t size;
        BusTarget* target;
    };
    const Range* find(std::uint64_t at, std::uint64_t length) const;

    std::vector<Range> ranges_;  // by start, disjoint
};

}  // namespace pepita::vmm
