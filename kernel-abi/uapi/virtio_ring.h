#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

/// Virtqueues in guest memory, split and packed. Source: virtio 1.3 §2.7, §2.8; Linux 7.3
/// include/uapi/linux/virtio_ring.h.
namespace pepita::abi {

// §2.7: all fields are little-endian, and we read them as they lie.
static_assert(std::endian::native == std::endian::little);

inline constexpr std::uint16_t kVirtqSizeMax = 32768;

inline constexpr std::uint16_t kVirtqDescNext = 1;
inline constexpr std::uint16_t kVirtqDescWrite = 2;
inline constexpr std::uint16_t kVirtqDescIndirect = 4;

struct VirtqDesc {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t flags;
    std::uint16_t next;
};

struct VirtqUsedElement {
    std::uint32_t id;
    std::uint32_t length;
};

inline constexpr std::uint16_t kVirtqAvailNoInterrupt = 1;  // available.flags
inline constexpr std::uint16_t kVirtqUsedNoNotify = 1;      // used.flags

inline constexpr std::size_t kVirtqDescAlign = 16;
inline constexpr std::size_t kVirtqAvailAlign = 2;
inline constexpr std::size_t kVirtqUsedAlign = 4;

/// Both the available and the used ring: u16 flags, u16 idx, the entries, u16 event.
inline constexpr std::size_t kVirtqFlagsOffset = 0;
inline constexpr std::size_t kVirtqIdxOffset = 2;
inline constexpr std::size_t kVirtqEntriesOffset = 4;

constexpr std::size_t virtq_desc_bytes(std::uint16_t size) { return sizeof(VirtqDesc) * size; }
/// The offset of used_event in the available ring.
constexpr std::size_t virtq_used_event_offset(std::uint16_t size) {
    return kVirtqEntriesOffset + sizeof(std::uint16_t) * size;
}
constexpr std::size_t virtq_avail_bytes(std::uint16_t size) {
    return virtq_used_event_offset(size) + sizeof(std::uint16_t);
}
/// The offset of avail_event in the used ring.
constexpr std::size_t virtq_avail_event_offset(std::uint16_t size) {
    return kVirtqEntriesOffset + sizeof(VirtqUsedElement) * size;
}
constexpr std::size_t virtq_used_bytes(std::uint16_t size) {
    return virtq_avail_event_offset(size) + sizeof(std::uint16_t);
}

/// Whether moving an index from `before` to `now` passed `event`; all three wrap.
/// Source: virtio 1.2 §2.7.10 (vring_need_event).
constexpr bool virtq_passed_event(std::uint16_t event, std::uint16_t now, std::uint16_t before) {
    return static_cast<std::uint16_t>(now - event - 1) < static_cast<std::uint16_t>(now - before);
}

/// The packed virtqueue: one ring that both sides write (§2.8).
struct VirtqPackedDesc {
    std::uint64_t address;
    std::uint32_t length;
    std::uint16_t id;
    std::uint16_t flags;  // kVirtqDesc*, and the two bits below
};

/// Bits of VirtqPackedDesc::flags, by number: the driver and the device write their wrap counter to
/// them (§2.8.1).
inline constexpr unsigned kVirtqPackedAvailBit = 7;
inline constexpr unsigned kVirtqPackedUsedBit = 15;

/// Event suppression (§2.8.10): which descriptors the other side wants to be notified of; one
/// structure for each direction.
struct VirtqPackedEvent {
    std::uint16_t off_wrap;  // a place in the ring, and the wrap counter in bit kVirtqPackedWrapBit
    std::uint16_t flags;     // kVirtqPackedEvent*
};

inline constexpr std::uint16_t kVirtqPackedEventEnable = 0;
inline constexpr std::uint16_t kVirtqPackedEventDisable = 1;
inline constexpr std::uint16_t kVirtqPackedEventDesc = 2;  // with kVirtioFEventIdx
inline constexpr unsigned kVirtqPackedWrapBit = 15;

}  // namespace pepita::abi
