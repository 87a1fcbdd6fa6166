#include "kernel-abi/uapi/kvm_vm.h"

#include <gtest/gtest.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

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

SAME_SIZE(EnableCap, kvm_enable_cap);
SAME_PLACE(EnableCap, cap, kvm_enable_cap, cap);
SAME_PLACE(EnableCap, flags, kvm_enable_cap, flags);
SAME_PLACE(EnableCap, args, kvm_enable_cap, args);
SAME_PLACE(EnableCap, pad, kvm_enable_cap, pad);

SAME_SIZE(ClockData, kvm_clock_data);
SAME_PLACE(ClockData, clock, kvm_clock_data, clock);
SAME_PLACE(ClockData, flags, kvm_clock_data, flags);
SAME_PLACE(ClockData, pad0, kvm_clock_data, pad0);
SAME_PLACE(ClockData, realtime, kvm_clock_data, realtime);
SAME_PLACE(ClockData, host_tsc, kvm_clock_data, host_tsc);
SAME_PLACE(ClockData, pad, kvm_clock_data, pad);

static_assert(kClockTscStable == KVM_CLOCK_TSC_STABLE);
static_assert(kClockRealtime == KVM_CLOCK_REALTIME);
static_assert(kClockHostTsc == KVM_CLOCK_HOST_TSC);

static_assert(sizeof(SignalMask) == 4);  // what follows is not counted
SAME_PLACE(SignalMask, len, kvm_signal_mask, len);

SAME_SIZE(CreateDevice, kvm_create_device);
SAME_PLACE(CreateDevice, type, kvm_create_device, type);
SAME_PLACE(CreateDevice, fd, kvm_create_device, fd);
SAME_PLACE(CreateDevice, flags, kvm_create_device, flags);

static_assert(kCreateDeviceTest == KVM_CREATE_DEVICE_TEST);

static_assert(kDevTypeVfio == KVM_DEV_TYPE_VFIO);

SAME_SIZE(DeviceAttr, kvm_device_attr);
SAME_PLACE(DeviceAttr, flags, kvm_device_attr, flags);
SAME_PLACE(DeviceAttr, group, kvm_device_attr, group);
SAME_PLACE(DeviceAttr, attr, kvm_device_attr, attr);
SAME_PLACE(DeviceAttr, addr, kvm_device_attr, addr);

static_assert(kDevVfioFile == KVM_DEV_VFIO_FILE);
static_assert(kDevVfioFileAdd == KVM_DEV_VFIO_FILE_ADD);
static_assert(kDevVfioFileDel == KVM_DEV_VFIO_FILE_DEL);
static_assert(kDevVfioGroup == KVM_DEV_VFIO_GROUP);
static_assert(kDevVfioGroupAdd == KVM_DEV_VFIO_GROUP_ADD);
static_assert(kDevVfioGroupDel == KVM_DEV_VFIO_GROUP_DEL);

static_assert(kVcpuTscCtrl == KVM_VCPU_TSC_CTRL);
static_assert(kVcpuTscOffset == KVM_VCPU_TSC_OFFSET);
static_assert(kX86GrpSystem == KVM_X86_GRP_SYSTEM);
static_assert(kX86XcompGuestSupp == KVM_X86_XCOMP_GUEST_SUPP);
static_assert(kX86GrpSev == KVM_X86_GRP_SEV);

SAME_SIZE(OneReg, kvm_one_reg);
SAME_PLACE(OneReg, id, kvm_one_reg, id);
SAME_PLACE(OneReg, addr, kvm_one_reg, addr);

static_assert(sizeof(RegList) == 8);  // what follows is not counted
SAME_PLACE(RegList, n, kvm_reg_list, n);

static_assert(kRegArchMask == KVM_REG_ARCH_MASK);
static_assert(kRegGeneric == KVM_REG_GENERIC);
static_assert(kRegX86 == KVM_REG_X86);
static_assert(kRegSizeMask == KVM_REG_SIZE_MASK);
static_assert(kRegSizeU8 == KVM_REG_SIZE_U8);
static_assert(kRegSizeU16 == KVM_REG_SIZE_U16);
static_assert(kRegSizeU32 == KVM_REG_SIZE_U32);
static_assert(kRegSizeU64 == KVM_REG_SIZE_U64);
static_assert(kRegSizeU128 == KVM_REG_SIZE_U128);
static_assert(kRegSizeU256 == KVM_REG_SIZE_U256);
static_assert(kRegSizeU512 == KVM_REG_SIZE_U512);
static_assert(kRegSizeU1024 == KVM_REG_SIZE_U1024);
static_assert(kRegSizeU2048 == KVM_REG_SIZE_U2048);

static_assert(kRegSizeShift == KVM_REG_SIZE_SHIFT);

static_assert(kX86RegTypeMsr == KVM_X86_REG_TYPE_MSR);
static_assert(kX86RegTypeKvm == KVM_X86_REG_TYPE_KVM);
static_assert(kRegGuestSsp == KVM_REG_GUEST_SSP);

SAME_SIZE(StatsHeader, kvm_stats_header);
SAME_PLACE(StatsHeader, flags, kvm_stats_header, flags);
SAME_PLACE(StatsHeader, name_size, kvm_stats_header, name_size);
SAME_PLACE(StatsHeader, num_desc, kvm_stats_header, num_desc);
SAME_PLACE(StatsHeader, id_offset, kvm_stats_header, id_offset);
SAME_PLACE(StatsHeader, desc_offset, kvm_stats_header, desc_offset);
SAME_PLACE(StatsHeader, data_offset, kvm_stats_header, data_offset);

static_assert(sizeof(StatsDescriptor) == 16);  // what follows is not counted
SAME_PLACE(StatsDescriptor, flags, kvm_stats_desc, flags);
SAME_PLACE(StatsDescriptor, exponent, kvm_stats_desc, exponent);
SAME_PLACE(StatsDescriptor, size, kvm_stats_desc, size);
SAME_PLACE(StatsDescriptor, offset, kvm_stats_desc, offset);
SAME_PLACE(StatsDescriptor, bucket_size, kvm_stats_desc, bucket_size);

static_assert(kStatsTypeShift == KVM_STATS_TYPE_SHIFT);
static_assert(kStatsTypeMask == KVM_STATS_TYPE_MASK);
static_assert(kStatsTypeCumulative == KVM_STATS_TYPE_CUMULATIVE);
static_assert(kStatsTypeInstant == KVM_STATS_TYPE_INSTANT);
static_assert(kStatsTypePeak == KVM_STATS_TYPE_PEAK);
static_assert(kStatsTypeLinearHist == KVM_STATS_TYPE_LINEAR_HIST);
static_assert(kStatsTypeLogHist == KVM_STATS_TYPE_LOG_HIST);
static_assert(kStatsTypeMax == KVM_STATS_TYPE_MAX);
static_assert(kStatsUnitShift == KVM_STATS_UNIT_SHIFT);
static_assert(kStatsUnitMask == KVM_STATS_UNIT_MASK);
static_assert(kStatsUnitNone == KVM_STATS_UNIT_NONE);
static_assert(kStatsUnitBytes == KVM_STATS_UNIT_BYTES);
static_assert(kStatsUnitSeconds == KVM_STATS_UNIT_SECONDS);
static_assert(kStatsUnitCycles == KVM_STATS_UNIT_CYCLES);
static_assert(kStatsUnitBoolean == KVM_STATS_UNIT_BOOLEAN);
static_assert(kStatsUnitMax == KVM_STATS_UNIT_MAX);
static_assert(kStatsBaseShift == KVM_STATS_BASE_SHIFT);
static_assert(kStatsBaseMask == KVM_STATS_BASE_MASK);
static_assert(kStatsBasePow10 == KVM_STATS_BASE_POW10);
static_assert(kStatsBasePow2 == KVM_STATS_BASE_POW2);
static_assert(kStatsBaseMax == KVM_STATS_BASE_MAX);

static_assert(kX86DefaultVm == KVM_X86_DEFAULT_VM);
static_assert(kX86SwProtectedVm == KVM_X86_SW_PROTECTED_VM);
static_assert(kX86SevVm == KVM_X86_SEV_VM);
static_assert(kX86SevEsVm == KVM_X86_SEV_ES_VM);
static_assert(kX86SnpVm == KVM_X86_SNP_VM);
static_assert(kX86TdxVm == KVM_X86_TDX_VM);

static_assert(kX86DisableExitsMwait == KVM_X86_DISABLE_EXITS_MWAIT);
static_assert(kX86DisableExitsHlt == KVM_X86_DISABLE_EXITS_HLT);
static_assert(kX86DisableExitsPause == KVM_X86_DISABLE_EXITS_PAUSE);
static_assert(kX86DisableExitsCstate == KVM_X86_DISABLE_EXITS_CSTATE);
static_assert(kX86DisableExitsAperfmperf == KVM_X86_DISABLE_EXITS_APERFMPERF);

static_assert(kBusLockDetectionOff == KVM_BUS_LOCK_DETECTION_OFF);
static_assert(kBusLockDetectionExit == KVM_BUS_LOCK_DETECTION_EXIT);

static_assert(kX86NotifyVmexitEnabled == KVM_X86_NOTIFY_VMEXIT_ENABLED);
static_assert(kX86NotifyVmexitUser == KVM_X86_NOTIFY_VMEXIT_USER);

static_assert(kX86QuirkLint0Reenabled == KVM_X86_QUIRK_LINT0_REENABLED);
static_assert(kX86QuirkCdNwCleared == KVM_X86_QUIRK_CD_NW_CLEARED);
static_assert(kX86QuirkLapicMmioHole == KVM_X86_QUIRK_LAPIC_MMIO_HOLE);
static_assert(kX86QuirkOut7eIncRip == KVM_X86_QUIRK_OUT_7E_INC_RIP);
static_assert(kX86QuirkMiscEnableNoMwait == KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT);
static_assert(kX86QuirkFixHypercallInsn == KVM_X86_QUIRK_FIX_HYPERCALL_INSN);
static_assert(kX86QuirkMwaitNeverUdFaults == KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS);
static_assert(kX86QuirkSlotZapAll == KVM_X86_QUIRK_SLOT_ZAP_ALL);
static_assert(kX86QuirkStuffFeatureMsrs == KVM_X86_QUIRK_STUFF_FEATURE_MSRS);
static_assert(kX86QuirkIgnoreGuestPat == KVM_X86_QUIRK_IGNORE_GUEST_PAT);
static_assert(kX86QuirkVmcs12AllowFreezeInSmm == KVM_X86_QUIRK_VMCS12_ALLOW_FREEZE_IN_SMM);
static_assert(kX86QuirkNestedSvmSharedPat == KVM_X86_QUIRK_NESTED_SVM_SHARED_PAT);

using KvmVm = KvmMachine;

TEST_F(KvmVm, DevicesThatThereAreNotAreRefused) {
    CreateDevice create{};
    create.type = 0xffff;
    create.flags = kCreateDeviceTest;
    EXPECT_EQ(error_of(vm_, kCreateDevice, &create), ENODEV);
    DeviceAttr attribute{};
    attribute.group = 0xffff;
    EXPECT_EQ(error_of(kvm_, kHasDeviceAttr, &attribute), ENXIO);
}

TEST_F(KvmVm, AClockGoesOnFromWhereItWasSet) {
    ClockData clock{};
    clock.clock = 1'000'000'000'000;
    ASSERT_EQ(error_of(vm_, kSetClock, &clock), 0);
    ClockData read{};
    ASSERT_EQ(error_of(vm_, kGetClock, &read), 0);
    EXPECT_GE(read.clock, clock.clock);
    clock.flags = 1U << 31U;
    EXPECT_EQ(error_of(vm_, kSetClock, &clock), EINVAL);
}

TEST_F(KvmVm, ASignalMaskIsAsLongAsTheKernels) {
    struct {
        SignalMask head{};
        std::array<std::uint8_t, 8> set{};
    } mask;
    mask.head.len = 4;
    EXPECT_EQ(error_of(vcpu_, kSetSignalMask, &mask), EINVAL);
    mask.head.len = 8;
    EXPECT_EQ(error_of(vcpu_, kSetSignalMask, &mask), 0);
}

/// The statistics say of themselves where they are; "exits" is there since they are.
TEST_F(KvmVm, StatisticsDescribeThemselves) {
    if (has(kCapBinaryStatsFd) <= 0) {
        GTEST_SKIP() << "this kernel has no descriptor of statistics";
    }
    const Fd stats(::ioctl(vcpu_.ref().number(), kGetStatsFd, 0));
    ASSERT_TRUE(stats) << std::strerror(errno);
    const int fd = stats.ref().number();
    StatsHeader header{};
    ASSERT_EQ(::pread(fd, &header, sizeof(header), 0), static_cast<ssize_t>(sizeof(header)));
    ASSERT_GT(header.num_desc, 0U);
    ASSERT_EQ(header.flags, 0U);
    bool found = false;
    for (std::uint32_t i = 0; i < header.num_desc; ++i) {
        std::vector<char> entry(sizeof(StatsDescriptor) + header.name_size);
        const auto at = static_cast<off_t>(header.desc_offset + i * entry.size());
        ASSERT_EQ(::pread(fd, entry.data(), entry.size(), at), static_cast<ssize_t>(entry.size()));
        StatsDescriptor descriptor{};
        std::memcpy(&descriptor, entry.data(), sizeof(descriptor));
        EXPECT_LE(descriptor.flags & kStatsTypeMask, kStatsTypeMax);
        EXPECT_LE(descriptor.flags & kStatsUnitMask, kStatsUnitMax);
        EXPECT_LE(descriptor.flags & kStatsBaseMask, kStatsBaseMax);
        const std::string_view name(&entry[sizeof(descriptor)]);
        if (name == "exits") {
            found = true;
            EXPECT_EQ(descriptor.size, 1U);
            EXPECT_EQ(descriptor.flags & kStatsTypeMask, kStatsTypeCumulative);
        }
    }
    EXPECT_TRUE(found);
}

}  // namespace
}  // namespace pepita::abi::kvm
