#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::virtio {

/// An address as the guest writes it. Not a pointer, and not one addition away from being one.
enum class GuestAddress : std::uint64_t {};

/// Copies bytes that another may write meanwhile. A bare memcpy would let the compiler read the
/// source a second time after the copy was checked; this holds it to one read.
inline void copy_once(std::span<std::byte> to, std::span<const std::byte> from) {
    std::memcpy(to.data(), from.data(), from.size());
    __asm__ volatile("" ::: "memory");  // SAFETY: emits nothing; `from` counts as changed from here
}

/// One stretch of guest RAM: where the guest sees it, and our mapping of it.
struct MemoryRegion {
    GuestAddress start{};
    std::span<std::byte> bytes;  // borrowed
};

/// The guest's RAM: disjoint regions, each mapped by someone else.
///
/// The guest runs while we read. So what is decided upon comes out as a copy, checked after it was
/// taken, and the guest cannot change it behind our back. span_at() is for payload alone: bytes
/// that are moved and never interpreted.
class GuestMemory {
public:
    /// `regions` are sorted by us; what they map must outlive this.
    /// Errors: InvalidArgument where two overlap, or one wraps the address space.
    static Result<GuestMemory> create(std::vector<MemoryRegion> regions);

    /// A copy of the T at `at`. Errors: OutOfRange where any byte of it is outside RAM.
    template <typename T>
    Result<T> read(GuestAddress at) const {
        static_assert(std::is_trivially_copyable_v<T>);
        const std::span<const std::byte> from = TRY(span_at(at, Bytes(sizeof(T))));
        T value;
        copy_once(std::as_writable_bytes(std::span(&value, 1)), from);
        return value;
    }

    /// Errors: as read().
    template <typename T>
    Result<void> write(GuestAddress at, const T& value) const {
        static_assert(std::is_trivially_copyable_v<T>);
        const std::span<std::byte> to = TRY(span_at(at, Bytes(sizeof(T))));
        std::memcpy(to.data(), &value, sizeof(T));
        return {};
    }

    /// The bytes at [at, at + length), which must lie in one region.
    /// Errors: OutOfRange where any byte is outside RAM.
    Result<std::span<std::byte>> span_at(GuestAddress at, Bytes length) const;

    std::span<const MemoryRegion> regions() const { return regions_; }

private:
    explicit GuestMemory(std::vector<MemoryRegion> regions) : regions_(std::move(regions)) {}

    std::vector<MemoryRegion> regions_;  // by start
};

}  // namespace pepita::virtio
