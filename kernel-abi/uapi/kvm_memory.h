#pragma once

#include <array>
#include <cstdint>

/// What a guest's memory is made of, and which of its pages have changed. A comment behind a name
/// says which Linux brought it; what has none is as old as Linux 3.0. Source: Linux 7.3
/// include/uapi/linux/kvm.h and arch/x86/include/uapi/asm/kvm.h.
namespace pepita::abi::kvm {

struct UserMemoryRegion {
    std::uint32_t slot;
    std::uint32_t flags;
    std::uint64_t guest_phys_addr;
    std::uint64_t memory_size;
    std::uint64_t userspace_addr;
};
static_assert(sizeof(UserMemoryRegion) == 32);

/// The same, and where its private memory is. Since 6.8.
struct UserMemoryRegion2 {
    std::uint32_t slot;
    std::uint32_t flags;
    std::uint64_t guest_phys_addr;
    std::uint64_t memory_size;
    std::uint64_t userspace_addr;
    std::uint64_t guest_memfd_offset;
    std::uint32_t guest_memfd;
    std::uint32_t pad1;
    std::array<std::uint64_t, 14> pad2;
};
static_assert(sizeof(UserMemoryRegion2) == 160);

/// UserMemoryRegion::flags.
inline constexpr std::uint32_t kMemLogDirtyPages = 1U << 0U;
inline constexpr std::uint32_t kMemReadonly = 1U << 1U;    // 3.7
inline constexpr std::uint32_t kMemGuestMemfd = 1U << 2U;  // 6.8

/// Since 6.8.
struct CreateGuestMemfd {
    std::uint64_t size;
    std::uint64_t flags;
    std::array<std::uint64_t, 6> reserved;
};
static_assert(sizeof(CreateGuestMemfd) == 64);

/// CreateGuestMemfd::flags.
inline constexpr std::uint64_t kGuestMemfdFlagMmap = 1ULL << 0U;        // 6.18
inline constexpr std::uint64_t kGuestMemfdFlagInitShared = 1ULL << 1U;  // 6.18

/// Since 6.8.
struct MemoryAttributes {
    std::uint64_t address;
    std::uint64_t size;
    std::uint64_t attributes;
    std::uint64_t flags;
};
static_assert(sizeof(MemoryAttributes) == 32);

/// MemoryAttributes::attributes.
inline constexpr std::uint64_t kMemoryAttributePrivate = 1ULL << 3U;  // 6.8

/// Since 6.11.
struct PreFaultMemory {
    std::uint64_t gpa;
    std::uint64_t size;
    std::uint64_t flags;
    std::array<std::uint64_t, 5> padding;
};
static_assert(sizeof(PreFaultMemory) == 64);

/// Memory of an encrypted guest. Since 4.16.
struct EncRegion {
    std::uint64_t addr;
    std::uint64_t size;
};
static_assert(sizeof(EncRegion) == 16);

struct DirtyLog {
    std::uint32_t slot;
    std::uint32_t padding1;
    std::uint64_t dirty_bitmap;  // where it is, one bit a page
};
static_assert(sizeof(DirtyLog) == 16);

/// Since 5.0.
struct ClearDirtyLog {
    std::uint32_t slot;
    std::uint32_t num_pages;
    std::uint64_t first_page;
    std::uint64_t dirty_bitmap;  // where it is, one bit a page
};
static_assert(sizeof(ClearDirtyLog) == 24);

/// Arguments of kCapManualDirtyLogProtect2.
inline constexpr std::uint64_t kDirtyLogManualProtectEnable = 1ULL << 0U;  // 5.7
inline constexpr std::uint64_t kDirtyLogInitiallySet = 1ULL << 1U;         // 5.7

/// An entry of the dirty ring, which a vCPU maps at kDirtyLogPageOffset. Since 5.11.
struct DirtyGfn {
    std::uint32_t flags;
    std::uint32_t slot;
    std::uint64_t offset;
};
static_assert(sizeof(DirtyGfn) == 16);

/// DirtyGfn::flags: dirty is set by the kernel, reset by whoever has seen it.
inline constexpr std::uint32_t kDirtyGfnFDirty = 1U << 0U;  // 5.11
inline constexpr std::uint32_t kDirtyGfnFReset = 1U << 1U;  // 5.11

inline constexpr std::uint32_t kDirtyGfnFMask = 0x3;  // 5.11

/// Where a vCPU's descriptor maps what, in pages.
inline constexpr std::uint64_t kPioPageOffset = 1;
inline constexpr std::uint64_t kCoalescedMmioPageOffset = 2;
inline constexpr std::uint64_t kDirtyLogPageOffset = 64;  // 5.11

struct CoalescedMmioZone {
    std::uint64_t addr;
    std::uint32_t size;
    union {
        std::uint32_t pad;
        std::uint32_t pio;
    };
};
static_assert(sizeof(CoalescedMmioZone) == 16);

struct CoalescedMmio {
    std::uint64_t phys_addr;
    std::uint32_t len;
    union {
        std::uint32_t pad;
        std::uint32_t pio;
    };
    std::array<std::uint8_t, 8> data;
};
static_assert(sizeof(CoalescedMmio) == 24);

struct CoalescedMmioRing {
    std::uint32_t first;
    std::uint32_t last;
    // coalesced_mmio follow
};
static_assert(sizeof(CoalescedMmioRing) == 8);

struct Translation {
    std::uint64_t linear_address;
    std::uint64_t physical_address;
    std::uint8_t valid;
    std::uint8_t writeable;
    std::uint8_t usermode;
    std::array<std::uint8_t, 5> pad;
};
static_assert(sizeof(Translation) == 24);

}  // namespace pepita::abi::kvm
