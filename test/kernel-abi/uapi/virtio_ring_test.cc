#include "kernel-abi/uapi/virtio_ring.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>

#include "test/kernel-abi/uapi/linux_virtio.h"
#include "test/kernel-abi/uapi/same_layout.h"

// Against Linux's own header, Debian's as it is here.
namespace pepita::abi {
namespace {

static_assert(kVirtqDescNext == VRING_DESC_F_NEXT);
static_assert(kVirtqDescWrite == VRING_DESC_F_WRITE);
static_assert(kVirtqDescIndirect == VRING_DESC_F_INDIRECT);
static_assert(kVirtqAvailNoInterrupt == VRING_AVAIL_F_NO_INTERRUPT);
static_assert(kVirtqUsedNoNotify == VRING_USED_F_NO_NOTIFY);
static_assert(kVirtqDescAlign == VRING_DESC_ALIGN_SIZE);
static_assert(kVirtqAvailAlign == VRING_AVAIL_ALIGN_SIZE);
static_assert(kVirtqUsedAlign == VRING_USED_ALIGN_SIZE);
static_assert(kVirtqPackedAvailBit == VRING_PACKED_DESC_F_AVAIL);
static_assert(kVirtqPackedUsedBit == VRING_PACKED_DESC_F_USED);
static_assert(kVirtqPackedEventEnable == VRING_PACKED_EVENT_FLAG_ENABLE);
static_assert(kVirtqPackedEventDisable == VRING_PACKED_EVENT_FLAG_DISABLE);
static_assert(kVirtqPackedEventDesc == VRING_PACKED_EVENT_FLAG_DESC);
static_assert(kVirtqPackedWrapBit == VRING_PACKED_EVENT_F_WRAP_CTR);
static_assert(kVirtqSizeMax == 32768);  // virtio 1.3 §2.7

SAME_SIZE(VirtqDesc, vring_desc);
SAME_PLACE(VirtqDesc, address, vring_desc, addr);
SAME_PLACE(VirtqDesc, length, vring_desc, len);
SAME_PLACE(VirtqDesc, flags, vring_desc, flags);
SAME_PLACE(VirtqDesc, next, vring_desc, next);

SAME_SIZE(VirtqUsedElement, vring_used_elem);
SAME_PLACE(VirtqUsedElement, id, vring_used_elem, id);
SAME_PLACE(VirtqUsedElement, length, vring_used_elem, len);

SAME_SIZE(VirtqPackedDesc, vring_packed_desc);
SAME_PLACE(VirtqPackedDesc, address, vring_packed_desc, addr);
SAME_PLACE(VirtqPackedDesc, length, vring_packed_desc, len);
SAME_PLACE(VirtqPackedDesc, id, vring_packed_desc, id);
SAME_PLACE(VirtqPackedDesc, flags, vring_packed_desc, flags);

SAME_SIZE(VirtqPackedEvent, vring_packed_desc_event);
SAME_PLACE(VirtqPackedEvent, off_wrap, vring_packed_desc_event, off_wrap);
SAME_PLACE(VirtqPackedEvent, flags, vring_packed_desc_event, flags);

static_assert(kVirtqFlagsOffset == offsetof(vring_avail, flags));
static_assert(kVirtqIdxOffset == offsetof(vring_avail, idx));
static_assert(kVirtqEntriesOffset == offsetof(vring_avail, ring));
static_assert(kVirtqFlagsOffset == offsetof(vring_used, flags));
static_assert(kVirtqIdxOffset == offsetof(vring_used, idx));
static_assert(kVirtqEntriesOffset == offsetof(vring_used, ring));

// virtio 1.3 §2.8.1: bits 7 and 15.
static_assert(virtq_packed_available(kVirtqDescWrite, true) == 0x82);
static_assert(virtq_packed_available(kVirtqDescWrite, false) == 0x8002);
static_assert(virtq_packed_used(kVirtqDescWrite, true) == 0x8082);
static_assert(virtq_packed_used(kVirtqDescWrite, false) == 2);
static_assert(virtq_packed_is_available(0x80, true));
static_assert(virtq_packed_is_available(0x8000, false));
static_assert(!virtq_packed_is_available(0x80, false));
static_assert(!virtq_packed_is_available(0x8000, true));
static_assert(!virtq_packed_is_available(0x8080, true));
static_assert(!virtq_packed_is_available(0, false));
static_assert(virtq_passed_event(5, 6, 5));
static_assert(!virtq_passed_event(5, 5, 4));
static_assert(!virtq_passed_event(5, 7, 6));

TEST(VirtqEvent, IsPassedAsLinuxHasIt) {
    for (const std::uint16_t before : std::array<std::uint16_t, 3>{0, 5, 65534}) {
        for (std::uint16_t steps = 0; steps < 5; ++steps) {
            for (std::uint16_t ahead = 0; ahead < 5; ++ahead) {
                const auto now = static_cast<std::uint16_t>(before + steps);
                const auto event = static_cast<std::uint16_t>(before + ahead);
                EXPECT_EQ(virtq_passed_event(event, now, before),
                          vring_need_event(event, now, before) != 0);
            }
        }
    }
}

}  // namespace
}  // namespace pepita::abi
