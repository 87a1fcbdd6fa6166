#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/kvm.h"

namespace pepita::abi::kvm {

/// A VM of this machine's own /dev/kvm, with a page of memory at kPageAt and one vCPU.
class KvmMachine : public testing::Test {
protected:
    static constexpr std::uint64_t kPageAt = 0x1000;
    static constexpr std::uint32_t kSlot = 1;

    void SetUp() override {
        kvm_ = Fd(::open("/dev/kvm", O_RDWR | O_CLOEXEC));
        if (!kvm_) {
            GTEST_SKIP() << "/dev/kvm: " << std::strerror(errno);
        }
        vm_ = Fd(::ioctl(kvm_.ref().number(), kCreateVm, 0));
        ASSERT_TRUE(vm_) << std::strerror(errno);
        memory_ = Mapping::anonymous(Bytes(4096)).value();
        const UserMemoryRegion region = page();
        ASSERT_EQ(error_of(vm_, kSetUserMemoryRegion, &region), 0);
        vcpu_ = Fd(::ioctl(vm_.ref().number(), kCreateVcpu, 0));
        ASSERT_TRUE(vcpu_) << std::strerror(errno);
    }

    UserMemoryRegion page() const {
        return {.slot = kSlot,
                .flags = 0,
                .guest_phys_addr = kPageAt,
                .memory_size = memory_.bytes().size(),
                // SAFETY: the mapping lives as long as the VM.
                .userspace_addr = reinterpret_cast<std::uint64_t>(memory_.bytes().data())};
    }

    int has(std::uint32_t capability) const {
        return ::ioctl(vm_.ref().number(), kCheckExtension, capability);
    }

    /// 0, or the errno with which the kernel refuses.
    template <typename Argument>
    static int error_of(const Fd& fd, unsigned long request, Argument argument) {
        return ::ioctl(fd.ref().number(), request, argument) < 0 ? errno : 0;
    }

    Fd kvm_;
    Mapping memory_;
    Fd vm_;
    Fd vcpu_;
};

}  // namespace pepita::abi::kvm
