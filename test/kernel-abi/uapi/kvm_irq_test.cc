#include "kernel-abi/uapi/kvm_irq.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>

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

SAME_SIZE(IrqLevel, kvm_irq_level);
SAME_PLACE(IrqLevel, irq, kvm_irq_level, irq);
SAME_PLACE(IrqLevel, status, kvm_irq_level, status);
SAME_PLACE(IrqLevel, level, kvm_irq_level, level);

SAME_SIZE(PicState, kvm_pic_state);
SAME_PLACE(PicState, last_irr, kvm_pic_state, last_irr);
SAME_PLACE(PicState, irr, kvm_pic_state, irr);
SAME_PLACE(PicState, imr, kvm_pic_state, imr);
SAME_PLACE(PicState, isr, kvm_pic_state, isr);
SAME_PLACE(PicState, priority_add, kvm_pic_state, priority_add);
SAME_PLACE(PicState, irq_base, kvm_pic_state, irq_base);
SAME_PLACE(PicState, read_reg_select, kvm_pic_state, read_reg_select);
SAME_PLACE(PicState, poll, kvm_pic_state, poll);
SAME_PLACE(PicState, special_mask, kvm_pic_state, special_mask);
SAME_PLACE(PicState, init_state, kvm_pic_state, init_state);
SAME_PLACE(PicState, auto_eoi, kvm_pic_state, auto_eoi);
SAME_PLACE(PicState, rotate_on_auto_eoi, kvm_pic_state, rotate_on_auto_eoi);
SAME_PLACE(PicState, special_fully_nested_mode, kvm_pic_state, special_fully_nested_mode);
SAME_PLACE(PicState, init4, kvm_pic_state, init4);
SAME_PLACE(PicState, elcr, kvm_pic_state, elcr);
SAME_PLACE(PicState, elcr_mask, kvm_pic_state, elcr_mask);

static_assert(kIoapicNumPins == KVM_IOAPIC_NUM_PINS);

SAME_SIZE(IoapicState, kvm_ioapic_state);
SAME_PLACE(IoapicState, base_address, kvm_ioapic_state, base_address);
SAME_PLACE(IoapicState, ioregsel, kvm_ioapic_state, ioregsel);
SAME_PLACE(IoapicState, id, kvm_ioapic_state, id);
SAME_PLACE(IoapicState, irr, kvm_ioapic_state, irr);
SAME_PLACE(IoapicState, pad, kvm_ioapic_state, pad);
SAME_PLACE(IoapicState, redirtbl, kvm_ioapic_state, redirtbl);

SAME_SIZE(Irqchip, kvm_irqchip);
SAME_PLACE(Irqchip, chip_id, kvm_irqchip, chip_id);
SAME_PLACE(Irqchip, pad, kvm_irqchip, pad);
SAME_PLACE(Irqchip, chip, kvm_irqchip, chip);
SAME_PLACE(Irqchip, chip.dummy, kvm_irqchip, chip.dummy);
SAME_PLACE(Irqchip, chip.pic, kvm_irqchip, chip.pic);
SAME_PLACE(Irqchip, chip.ioapic, kvm_irqchip, chip.ioapic);

static_assert(kIrqchipPicMaster == KVM_IRQCHIP_PIC_MASTER);
static_assert(kIrqchipPicSlave == KVM_IRQCHIP_PIC_SLAVE);
static_assert(kIrqchipIoapic == KVM_IRQCHIP_IOAPIC);
static_assert(kNrIrqchips == KVM_NR_IRQCHIPS);

SAME_SIZE(PitConfig, kvm_pit_config);
SAME_PLACE(PitConfig, flags, kvm_pit_config, flags);
SAME_PLACE(PitConfig, pad, kvm_pit_config, pad);

static_assert(kPitSpeakerDummy == KVM_PIT_SPEAKER_DUMMY);

SAME_SIZE(PitChannelState, kvm_pit_channel_state);
SAME_PLACE(PitChannelState, count, kvm_pit_channel_state, count);
SAME_PLACE(PitChannelState, latched_count, kvm_pit_channel_state, latched_count);
SAME_PLACE(PitChannelState, count_latched, kvm_pit_channel_state, count_latched);
SAME_PLACE(PitChannelState, status_latched, kvm_pit_channel_state, status_latched);
SAME_PLACE(PitChannelState, status, kvm_pit_channel_state, status);
SAME_PLACE(PitChannelState, read_state, kvm_pit_channel_state, read_state);
SAME_PLACE(PitChannelState, write_state, kvm_pit_channel_state, write_state);
SAME_PLACE(PitChannelState, write_latch, kvm_pit_channel_state, write_latch);
SAME_PLACE(PitChannelState, rw_mode, kvm_pit_channel_state, rw_mode);
SAME_PLACE(PitChannelState, mode, kvm_pit_channel_state, mode);
SAME_PLACE(PitChannelState, bcd, kvm_pit_channel_state, bcd);
SAME_PLACE(PitChannelState, gate, kvm_pit_channel_state, gate);
SAME_PLACE(PitChannelState, count_load_time, kvm_pit_channel_state, count_load_time);

SAME_SIZE(PitState, kvm_pit_state);
SAME_PLACE(PitState, channels, kvm_pit_state, channels);

SAME_SIZE(PitState2, kvm_pit_state2);
SAME_PLACE(PitState2, channels, kvm_pit_state2, channels);
SAME_PLACE(PitState2, flags, kvm_pit_state2, flags);
SAME_PLACE(PitState2, reserved, kvm_pit_state2, reserved);

static_assert(kPitFlagsHpetLegacy == KVM_PIT_FLAGS_HPET_LEGACY);
static_assert(kPitFlagsSpeakerDataOn == KVM_PIT_FLAGS_SPEAKER_DATA_ON);

SAME_SIZE(ReinjectControl, kvm_reinject_control);
SAME_PLACE(ReinjectControl, pit_reinject, kvm_reinject_control, pit_reinject);
SAME_PLACE(ReinjectControl, reserved, kvm_reinject_control, reserved);

SAME_SIZE(IrqRoutingIrqchip, kvm_irq_routing_irqchip);
SAME_PLACE(IrqRoutingIrqchip, irqchip, kvm_irq_routing_irqchip, irqchip);
SAME_PLACE(IrqRoutingIrqchip, pin, kvm_irq_routing_irqchip, pin);

SAME_SIZE(IrqRoutingMsi, kvm_irq_routing_msi);
SAME_PLACE(IrqRoutingMsi, address_lo, kvm_irq_routing_msi, address_lo);
SAME_PLACE(IrqRoutingMsi, address_hi, kvm_irq_routing_msi, address_hi);
SAME_PLACE(IrqRoutingMsi, data, kvm_irq_routing_msi, data);
SAME_PLACE(IrqRoutingMsi, pad, kvm_irq_routing_msi, pad);
SAME_PLACE(IrqRoutingMsi, devid, kvm_irq_routing_msi, devid);

SAME_SIZE(IrqRoutingS390Adapter, kvm_irq_routing_s390_adapter);
SAME_PLACE(IrqRoutingS390Adapter, ind_addr, kvm_irq_routing_s390_adapter, ind_addr);
SAME_PLACE(IrqRoutingS390Adapter, summary_addr, kvm_irq_routing_s390_adapter, summary_addr);
SAME_PLACE(IrqRoutingS390Adapter, ind_offset, kvm_irq_routing_s390_adapter, ind_offset);
SAME_PLACE(IrqRoutingS390Adapter, summary_offset, kvm_irq_routing_s390_adapter, summary_offset);
SAME_PLACE(IrqRoutingS390Adapter, adapter_id, kvm_irq_routing_s390_adapter, adapter_id);

SAME_SIZE(IrqRoutingHvSint, kvm_irq_routing_hv_sint);
SAME_PLACE(IrqRoutingHvSint, vcpu, kvm_irq_routing_hv_sint, vcpu);
SAME_PLACE(IrqRoutingHvSint, sint, kvm_irq_routing_hv_sint, sint);

SAME_SIZE(IrqRoutingXenEvtchn, kvm_irq_routing_xen_evtchn);
SAME_PLACE(IrqRoutingXenEvtchn, port, kvm_irq_routing_xen_evtchn, port);
SAME_PLACE(IrqRoutingXenEvtchn, vcpu, kvm_irq_routing_xen_evtchn, vcpu);
SAME_PLACE(IrqRoutingXenEvtchn, priority, kvm_irq_routing_xen_evtchn, priority);

static_assert(kIrqRoutingXenEvtchnPrio2level == KVM_IRQ_ROUTING_XEN_EVTCHN_PRIO_2LEVEL);

SAME_SIZE(IrqRoutingEntry, kvm_irq_routing_entry);
SAME_PLACE(IrqRoutingEntry, gsi, kvm_irq_routing_entry, gsi);
SAME_PLACE(IrqRoutingEntry, type, kvm_irq_routing_entry, type);
SAME_PLACE(IrqRoutingEntry, flags, kvm_irq_routing_entry, flags);
SAME_PLACE(IrqRoutingEntry, pad, kvm_irq_routing_entry, pad);
SAME_PLACE(IrqRoutingEntry, u, kvm_irq_routing_entry, u);
SAME_PLACE(IrqRoutingEntry, u.irqchip, kvm_irq_routing_entry, u.irqchip);
SAME_PLACE(IrqRoutingEntry, u.msi, kvm_irq_routing_entry, u.msi);
SAME_PLACE(IrqRoutingEntry, u.adapter, kvm_irq_routing_entry, u.adapter);
SAME_PLACE(IrqRoutingEntry, u.hv_sint, kvm_irq_routing_entry, u.hv_sint);
SAME_PLACE(IrqRoutingEntry, u.xen_evtchn, kvm_irq_routing_entry, u.xen_evtchn);
SAME_PLACE(IrqRoutingEntry, u.pad, kvm_irq_routing_entry, u.pad);

static_assert(kIrqRoutingIrqchip == KVM_IRQ_ROUTING_IRQCHIP);
static_assert(kIrqRoutingMsi == KVM_IRQ_ROUTING_MSI);
static_assert(kIrqRoutingS390Adapter == KVM_IRQ_ROUTING_S390_ADAPTER);
static_assert(kIrqRoutingHvSint == KVM_IRQ_ROUTING_HV_SINT);
static_assert(kIrqRoutingXenEvtchn == KVM_IRQ_ROUTING_XEN_EVTCHN);

static_assert(sizeof(IrqRouting) == 8);  // what follows is not counted
SAME_PLACE(IrqRouting, nr, kvm_irq_routing, nr);
SAME_PLACE(IrqRouting, flags, kvm_irq_routing, flags);

SAME_SIZE(IrqFd, kvm_irqfd);
SAME_PLACE(IrqFd, fd, kvm_irqfd, fd);
SAME_PLACE(IrqFd, gsi, kvm_irqfd, gsi);
SAME_PLACE(IrqFd, flags, kvm_irqfd, flags);
SAME_PLACE(IrqFd, resamplefd, kvm_irqfd, resamplefd);
SAME_PLACE(IrqFd, pad, kvm_irqfd, pad);

static_assert(kIrqfdFlagDeassign == KVM_IRQFD_FLAG_DEASSIGN);
static_assert(kIrqfdFlagResample == KVM_IRQFD_FLAG_RESAMPLE);

SAME_SIZE(IoEventFd, kvm_ioeventfd);
SAME_PLACE(IoEventFd, datamatch, kvm_ioeventfd, datamatch);
SAME_PLACE(IoEventFd, addr, kvm_ioeventfd, addr);
SAME_PLACE(IoEventFd, len, kvm_ioeventfd, len);
SAME_PLACE(IoEventFd, fd, kvm_ioeventfd, fd);
SAME_PLACE(IoEventFd, flags, kvm_ioeventfd, flags);
SAME_PLACE(IoEventFd, pad, kvm_ioeventfd, pad);

static_assert(kIoEventFdDatamatch == KVM_IOEVENTFD_FLAG_DATAMATCH);
static_assert(kIoEventFdPio == KVM_IOEVENTFD_FLAG_PIO);
static_assert(kIoEventFdDeassign == KVM_IOEVENTFD_FLAG_DEASSIGN);
static_assert(kIoEventFdVirtioCcwNotify == KVM_IOEVENTFD_FLAG_VIRTIO_CCW_NOTIFY);

static_assert(kIoeventfdValidFlagMask == KVM_IOEVENTFD_VALID_FLAG_MASK);

SAME_SIZE(Msi, kvm_msi);
SAME_PLACE(Msi, address_lo, kvm_msi, address_lo);
SAME_PLACE(Msi, address_hi, kvm_msi, address_hi);
SAME_PLACE(Msi, data, kvm_msi, data);
SAME_PLACE(Msi, flags, kvm_msi, flags);
SAME_PLACE(Msi, devid, kvm_msi, devid);
SAME_PLACE(Msi, pad, kvm_msi, pad);

static_assert(kMsiValidDevid == KVM_MSI_VALID_DEVID);

SAME_SIZE(Interrupt, kvm_interrupt);
SAME_PLACE(Interrupt, irq, kvm_interrupt, irq);

SAME_SIZE(LapicState, kvm_lapic_state);
SAME_PLACE(LapicState, regs, kvm_lapic_state, regs);

static_assert(kApicRegSize == KVM_APIC_REG_SIZE);

SAME_SIZE(TprAccessCtl, kvm_tpr_access_ctl);
SAME_PLACE(TprAccessCtl, enabled, kvm_tpr_access_ctl, enabled);
SAME_PLACE(TprAccessCtl, flags, kvm_tpr_access_ctl, flags);
SAME_PLACE(TprAccessCtl, reserved, kvm_tpr_access_ctl, reserved);

SAME_SIZE(VapicAddr, kvm_vapic_addr);
SAME_PLACE(VapicAddr, vapic_addr, kvm_vapic_addr, vapic_addr);

static_assert(kX2apicApiUse32bitIds == KVM_X2APIC_API_USE_32BIT_IDS);
static_assert(kX2apicApiDisableBroadcastQuirk == KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK);
static_assert(kX2apicEnableSuppressEoiBroadcast == KVM_X2APIC_ENABLE_SUPPRESS_EOI_BROADCAST);
static_assert(kX2apicDisableSuppressEoiBroadcast == KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST);

class KvmIrq : public KvmMachine {
protected:
    /// A VM whose local APICs alone are in the kernel.
    void split_irqchip() {
        if (has(kCapSplitIrqchip) <= 0) {
            GTEST_SKIP() << "this kernel has no split irqchip";
        }
        vcpu_ = {};
        vm_ = Fd(::ioctl(kvm_.ref().number(), kCreateVm, 0));
        ASSERT_TRUE(vm_);
        EnableCap enable{};
        enable.cap = kCapSplitIrqchip;
        enable.args[0] = kIoapicNumPins;
        ASSERT_EQ(error_of(vm_, kEnableCap, &enable), 0);
    }
};

TEST_F(KvmIrq, WithoutAChipThereAreNoInterrupts) {
    Msi msi{};
    EXPECT_EQ(error_of(vm_, kSignalMsi, &msi), EINVAL);
    LapicState lapic{};
    EXPECT_EQ(error_of(vcpu_, kGetLapic, &lapic), EINVAL);
    Irqchip chip{};
    EXPECT_EQ(error_of(vm_, kGetIrqchip, &chip), ENXIO);
}

TEST_F(KvmIrq, KicksThatCannotBeAreRefused) {
    const Fd event(::eventfd(0, EFD_CLOEXEC));
    IoEventFd kick{};
    kick.addr = 0x1000'0000;
    kick.len = 4;
    kick.fd = event.ref().number();
    IoEventFd wrong = kick;
    wrong.len = 3;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), EINVAL);
    wrong = kick;
    wrong.flags = kIoeventfdValidFlagMask + 1;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), EINVAL);
    wrong = kick;
    wrong.fd = -1;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), EBADF);
    wrong = kick;
    wrong.flags = kIoEventFdDeassign;
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), ENOENT);
    EXPECT_EQ(error_of(vm_, kIoEventFd, &kick), 0);
    EXPECT_EQ(error_of(vm_, kIoEventFd, &kick), EEXIST);
    EXPECT_EQ(error_of(vm_, kIoEventFd, &wrong), 0);
}

TEST_F(KvmIrq, DescriptorsOfInterruptsThatCannotBeAreRefused) {
    split_irqchip();
    IrqFd irq{};
    irq.fd = static_cast<std::uint32_t>(kvm_.ref().number());  // no eventfd
    EXPECT_EQ(error_of(vm_, kIrqfd, &irq), EINVAL);
    irq.flags = 1U << 2U;
    EXPECT_EQ(error_of(vm_, kIrqfd, &irq), EINVAL);
    irq.flags = 0;
    irq.fd = std::uint32_t{0} - 1;
    EXPECT_EQ(error_of(vm_, kIrqfd, &irq), EBADF);
}

TEST_F(KvmIrq, RoutesAreOfAKindThatThereIs) {
    split_irqchip();
    struct {
        IrqRouting head{};
        IrqRoutingEntry entry{};
    } routing;
    routing.head.nr = 1;
    routing.entry.gsi = 0;
    routing.entry.type = kIrqRoutingMsi;
    routing.entry.u.msi.address_lo = 0xfee0'0000;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), 0);
    routing.entry.type = 77;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), EINVAL);
    routing.entry.type = kIrqRoutingMsi;
    routing.entry.flags = 2;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), EINVAL);
    routing.head.flags = 1;
    EXPECT_EQ(error_of(vm_, kSetGsiRouting, &routing), EINVAL);
}

}  // namespace
}  // namespace pepita::abi::kvm
