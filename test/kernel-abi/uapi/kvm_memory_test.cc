#include "kernel-abi/uapi/kvm_memory.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"
#include "kernel-abi/uapi/version.h"
#include "test/kernel-abi/uapi/kvm_machine.h"
#include "test/kernel-abi/uapi/newer_kvm.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi::kvm {
namespace {

SAME_SIZE(UserMemoryRegion, kvm_userspace_memory_region);
SAME_PLACE(UserMemoryRegion, slot, kvm_userspace_memory_region, slot);
SAME_PLACE(UserMemoryRegion, flags, kvm_userspace_memory_region, flags);
SAME_PLACE(UserMemoryRegion, guest_phys_addr, kvm_userspace_memory_region, guest_phys_addr);
SAME_PLACE(UserMemoryRegion, memory_size, kvm_userspace_memory_region, memory_size);
SAME_PLACE(UserMemoryRegion, userspace_addr, kvm_userspace_memory_region, userspace_addr);

static_assert(sizeof(UserMemoryRegion2) == 160);
AT(UserMemoryRegion2, slot, 0, 4);
AT(UserMemoryRegion2, flags, 4, 4);
AT(UserMemoryRegion2, guest_phys_addr, 8, 8);
AT(UserMemoryRegion2, memory_size, 16, 8);
AT(UserMemoryRegion2, userspace_addr, 24, 8);
AT(UserMemoryRegion2, guest_memfd_offset, 32, 8);
AT(UserMemoryRegion2, guest_memfd, 40, 4);
AT(UserMemoryRegion2, pad1, 44, 4);
AT(UserMemoryRegion2, pad2, 48, 112);
#ifdef KVM_SET_USER_MEMORY_REGION2
SAME_SIZE(UserMemoryRegion2, kvm_userspace_memory_region2);
SAME_PLACE(UserMemoryRegion2, slot, kvm_userspace_memory_region2, slot);
SAME_PLACE(UserMemoryRegion2, flags, kvm_userspace_memory_region2, flags);
SAME_PLACE(UserMemoryRegion2, guest_phys_addr, kvm_userspace_memory_region2, guest_phys_addr);
SAME_PLACE(UserMemoryRegion2, memory_size, kvm_userspace_memory_region2, memory_size);
SAME_PLACE(UserMemoryRegion2, userspace_addr, kvm_userspace_memory_region2, userspace_addr);
SAME_PLACE(UserMemoryRegion2, guest_memfd_offset, kvm_userspace_memory_region2, guest_memfd_offset);
SAME_PLACE(UserMemoryRegion2, guest_memfd, kvm_userspace_memory_region2, guest_memfd);
SAME_PLACE(UserMemoryRegion2, pad1, kvm_userspace_memory_region2, pad1);
SAME_PLACE(UserMemoryRegion2, pad2, kvm_userspace_memory_region2, pad2);
#endif

static_assert(kMemLogDirtyPages == KVM_MEM_LOG_DIRTY_PAGES);
static_assert(kMemReadonly == KVM_MEM_READONLY);
static_assert(kMemGuestMemfd == KVM_MEM_GUEST_MEMFD);

static_assert(sizeof(CreateGuestMemfd) == 64);
AT(CreateGuestMemfd, size, 0, 8);
AT(CreateGuestMemfd, flags, 8, 8);
AT(CreateGuestMemfd, reserved, 16, 48);
#ifdef KVM_CREATE_GUEST_MEMFD
SAME_SIZE(CreateGuestMemfd, kvm_create_guest_memfd);
SAME_PLACE(CreateGuestMemfd, size, kvm_create_guest_memfd, size);
SAME_PLACE(CreateGuestMemfd, flags, kvm_create_guest_memfd, flags);
SAME_PLACE(CreateGuestMemfd, reserved, kvm_create_guest_memfd, reserved);
#endif

static_assert(kGuestMemfdFlagMmap == GUEST_MEMFD_FLAG_MMAP);
static_assert(kGuestMemfdFlagInitShared == GUEST_MEMFD_FLAG_INIT_SHARED);

static_assert(sizeof(MemoryAttributes) == 32);
AT(MemoryAttributes, address, 0, 8);
AT(MemoryAttributes, size, 8, 8);
AT(MemoryAttributes, attributes, 16, 8);
AT(MemoryAttributes, flags, 24, 8);
#ifdef KVM_SET_MEMORY_ATTRIBUTES
SAME_SIZE(MemoryAttributes, kvm_memory_attributes);
SAME_PLACE(MemoryAttributes, address, kvm_memory_attributes, address);
SAME_PLACE(MemoryAttributes, size, kvm_memory_attributes, size);
SAME_PLACE(MemoryAttributes, attributes, kvm_memory_attributes, attributes);
SAME_PLACE(MemoryAttributes, flags, kvm_memory_attributes, flags);
#endif

static_assert(kMemoryAttributePrivate == KVM_MEMORY_ATTRIBUTE_PRIVATE);

static_assert(sizeof(PreFaultMemory) == 64);
AT(PreFaultMemory, gpa, 0, 8);
AT(PreFaultMemory, size, 8, 8);
AT(PreFaultMemory, flags, 16, 8);
AT(PreFaultMemory, padding, 24, 40);
#ifdef KVM_PRE_FAULT_MEMORY
SAME_SIZE(PreFaultMemory, kvm_pre_fault_memory);
SAME_PLACE(PreFaultMemory, gpa, kvm_pre_fault_memory, gpa);
SAME_PLACE(PreFaultMemory, size, kvm_pre_fault_memory, size);
SAME_PLACE(PreFaultMemory, flags, kvm_pre_fault_memory, flags);
SAME_PLACE(PreFaultMemory, padding, kvm_pre_fault_memory, padding);
#endif

SAME_SIZE(EncRegion, kvm_enc_region);
SAME_PLACE(EncRegion, addr, kvm_enc_region, addr);
SAME_PLACE(EncRegion, size, kvm_enc_region, size);

SAME_SIZE(DirtyLog, kvm_dirty_log);
SAME_PLACE(DirtyLog, slot, kvm_dirty_log, slot);
SAME_PLACE(DirtyLog, padding1, kvm_dirty_log, padding1);
SAME_PLACE(DirtyLog, dirty_bitmap, kvm_dirty_log, dirty_bitmap);
SAME_PLACE(DirtyLog, dirty_bitmap, kvm_dirty_log, padding2);

SAME_SIZE(ClearDirtyLog, kvm_clear_dirty_log);
SAME_PLACE(ClearDirtyLog, slot, kvm_clear_dirty_log, slot);
SAME_PLACE(ClearDirtyLog, num_pages, kvm_clear_dirty_log, num_pages);
SAME_PLACE(ClearDirtyLog, first_page, kvm_clear_dirty_log, first_page);
SAME_PLACE(ClearDirtyLog, dirty_bitmap, kvm_clear_dirty_log, dirty_bitmap);
SAME_PLACE(ClearDirtyLog, dirty_bitmap, kvm_clear_dirty_log, padding2);

static_assert(kDirtyLogManualProtectEnable == KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE);
static_assert(kDirtyLogInitiallySet == KVM_DIRTY_LOG_INITIALLY_SET);

SAME_SIZE(DirtyGfn, kvm_dirty_gfn);
SAME_PLACE(DirtyGfn, flags, kvm_dirty_gfn, flags);
SAME_PLACE(DirtyGfn, slot, kvm_dirty_gfn, slot);
SAME_PLACE(DirtyGfn, offset, kvm_dirty_gfn, offset);

static_assert(kDirtyGfnFDirty == KVM_DIRTY_GFN_F_DIRTY);
static_assert(kDirtyGfnFReset == KVM_DIRTY_GFN_F_RESET);

static_assert(kDirtyGfnFMask == KVM_DIRTY_GFN_F_MASK);

static_assert(kPioPageOffset == KVM_PIO_PAGE_OFFSET);
static_assert(kCoalescedMmioPageOffset == KVM_COALESCED_MMIO_PAGE_OFFSET);
static_assert(kDirtyLogPageOffset == KVM_DIRTY_LOG_PAGE_OFFSET);

SAME_SIZE(CoalescedMmioZone, kvm_coalesced_mmio_zone);
SAME_PLACE(CoalescedMmioZone, addr, kvm_coalesced_mmio_zone, addr);
SAME_PLACE(CoalescedMmioZone, size, kvm_coalesced_mmio_zone, size);
SAME_PLACE(CoalescedMmioZone, pad, kvm_coalesced_mmio_zone, pad);
SAME_PLACE(CoalescedMmioZone, pio, kvm_coalesced_mmio_zone, pio);

SAME_SIZE(CoalescedMmio, kvm_coalesced_mmio);
SAME_PLACE(CoalescedMmio, phys_addr, kvm_coalesced_mmio, phys_addr);
SAME_PLACE(CoalescedMmio, len, kvm_coalesced_mmio, len);
SAME_PLACE(CoalescedMmio, pad, kvm_coalesced_mmio, pad);
SAME_PLACE(CoalescedMmio, pio, kvm_coalesced_mmio, pio);
SAME_PLACE(CoalescedMmio, data, kvm_coalesced_mmio, data);

static_assert(sizeof(CoalescedMmioRing) == 8);  // what follows is not counted
SAME_PLACE(CoalescedMmioRing, first, kvm_coalesced_mmio_ring, first);
SAME_PLACE(CoalescedMmioRing, last, kvm_coalesced_mmio_ring, last);

SAME_SIZE(Translation, kvm_translation);
SAME_PLACE(Translation, linear_address, kvm_translation, linear_address);
SAME_PLACE(Translation, physical_address, kvm_translation, physical_address);
SAME_PLACE(Translation, valid, kvm_translation, valid);
SAME_PLACE(Translation, writeable, kvm_translation, writeable);
SAME_PLACE(Translation, usermode, kvm_translation, usermode);
SAME_PLACE(Translation, pad, kvm_translation, pad);

using KvmMemory = KvmMachine;

TEST_F(KvmMemory, RegionsThatCannotBeAreRefused) {
    UserMemoryRegion region = page();
    region.guest_phys_addr += 1;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
    region = page();
    region.memory_size -= 1;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
    region = page();
    region.flags = 1U << 15U;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
    region = page();
    region.slot = static_cast<std::uint32_t>(has(kCapNrMemslots));
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
}

TEST_F(KvmMemory, APlaceIsTakenOnce) {
    UserMemoryRegion region = page();
    region.slot = kSlot + 1;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EEXIST);
    region = page();
    region.memory_size = 0;
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), 0);  // gone
    EXPECT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), EINVAL);
}

TEST_F(KvmMemory, OnlyWhatIsLoggedHasALog) {
    std::uint64_t bits = 0;
    // SAFETY: `bits` outlives the calls.
    DirtyLog log{
        .slot = kSlot, .padding1 = 0, .dirty_bitmap = reinterpret_cast<std::uint64_t>(&bits)};
    EXPECT_EQ(error_of(vm_, kGetDirtyLog, &log), ENOENT);
    UserMemoryRegion region = page();
    region.flags = kMemLogDirtyPages;
    ASSERT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), 0);
    EXPECT_EQ(error_of(vm_, kGetDirtyLog, &log), 0);
    log.slot = kSlot + 1;
    EXPECT_EQ(error_of(vm_, kGetDirtyLog, &log), ENOENT);
}

TEST_F(KvmMemory, PrivateMemoryHasASizeAndNoUnknownFlags) {
    if (has(kCapGuestMemfd) <= 0) {
        GTEST_SKIP() << "this kernel has no guest_memfd for such a VM";
    }
    CreateGuestMemfd create{};
    EXPECT_EQ(error_of(vm_, kCreateGuestMemfd, &create), EINVAL);
    create.size = 4096;
    create.flags = std::uint64_t{1} << 63U;
    EXPECT_EQ(error_of(vm_, kCreateGuestMemfd, &create), EINVAL);
    create.flags = 0;
    const Fd memory(::ioctl(vm_.ref().number(), kCreateGuestMemfd, &create));
    EXPECT_TRUE(memory) << std::strerror(errno);
}

TEST_F(KvmMemory, MemoryIsNotMadePrivateWhereItCannotBe) {
    MemoryAttributes attributes{};
    attributes.address = kPageAt;
    attributes.size = 4096;
    attributes.attributes = kMemoryAttributePrivate;
    if (has(kCapMemoryAttributes) <= 0) {
        // A kernel before 6.8 does not know the request, a later one has no attribute for this VM.
        const int error = error_of(vm_, kSetMemoryAttributes, &attributes);
        EXPECT_TRUE(error == ENOTTY || error == EINVAL) << error;
        return;
    }
    attributes.size = 1;
    EXPECT_EQ(error_of(vm_, kSetMemoryAttributes, &attributes), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
