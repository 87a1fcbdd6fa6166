#include "vmm/boot/cpuid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "kernel-abi/uapi/kvm.h"

namespace pepita::vmm {
namespace {

using Entry = abi::kvm::CpuidEntry;

constexpr std::uint32_t kAll = 0xffff'ffff;

Entry leaf(std::uint32_t function, std::uint32_t index = 0) {
    return {.function = function,
            .index = index,
            .flags = 0,
            .eax = kAll,
            .ebx = kAll,
            .ecx = kAll,
            .edx = kAll,
            .padding = {}};
}

/// The guest's leaf, of a host that has every bit of it.
Entry guest_leaf(Entry host, const Processor& processor) {
    Entry root = leaf(0);
    root.eax = 0x1f;
    const auto entries = guest_cpuid(std::array{root, host}, processor);
    const auto found = std::ranges::find_if(entries, [&](const Entry& entry) {
        return entry.function == host.function && entry.index == host.index;
    });
    return found == entries.end() ? Entry{} : *found;
}

TEST(Cpuid, FeaturesShowOurTopologyAndTheHypervisor) {
    Entry host = leaf(1);
    host.ecx = 1U << 5U;  // VMX
    host.edx = 0;
    const Entry entry = guest_leaf(host, {.apic_id = 3, .count = 4});
    EXPECT_EQ(entry.ebx >> 24U, 3U);
    EXPECT_EQ((entry.ebx >> 16U) & 0xffU, 4U);
    EXPECT_EQ(entry.ecx, (1U << 31U) | (1U << 24U) | (1U << 21U));
    EXPECT_EQ(entry.edx, 1U << 28U);  // more than one processor in the package
}

TEST(Cpuid, DeadlineTimerOnlyWhereKvmHasIt) {
    Entry host = leaf(1);
    host.ecx = 0;
    const Entry entry = guest_leaf(host, {.has_deadline_timer = false});
    EXPECT_EQ(entry.ecx & (1U << 24U), 0U);
    EXPECT_EQ(entry.edx & (1U << 28U), 0U);
}

TEST(Cpuid, HidesWhatWeDoNotVirtualise) {
    EXPECT_EQ(guest_leaf(leaf(7), {}).ecx, kAll & ~(1U << 5U));  // WAITPKG
    EXPECT_EQ(guest_leaf(leaf(6), {}).eax, 1U << 2U);            // ARAT stays
    EXPECT_EQ(guest_leaf(leaf(6), {}).ecx, 0U);
    EXPECT_EQ(guest_leaf(leaf(0xa), {}).eax, 0U);
    EXPECT_EQ(guest_leaf(leaf(0x8000'0001), {}).ecx, kAll & ~(1U << 2U));  // SVM
    EXPECT_EQ(guest_leaf(leaf(0x8000'000a), {}).eax, 0U);
}

TEST(Cpuid, KeepsTheParavirtualClock) {
    EXPECT_EQ(guest_leaf(leaf(0x4000'0001), {}), leaf(0x4000'0001));
}

TEST(Cpuid, X2ApicTopologyIsOneCorePerProcessor) {
    const Processor processor{.apic_id = 5, .count = 6};
    const Entry thread = guest_leaf(leaf(0xb, 0), processor);
    EXPECT_EQ(thread.eax, 0U);
    EXPECT_EQ(thread.ebx, 1U);
    EXPECT_EQ(thread.edx, 5U);
    const Entry core = guest_leaf(leaf(0xb, 1), processor);
    EXPECT_EQ(core.eax, 3U);  // bits that number six cores
    EXPECT_EQ(core.ebx, 6U);
    EXPECT_EQ(core.ecx, 0x201U);
    EXPECT_EQ(core.edx, 5U);
    EXPECT_EQ(guest_leaf(leaf(0x1f), processor), Entry{});  // the host's own would contradict
}

TEST(Cpuid, OnlyTheLastCacheIsShared) {
    Entry first = leaf(4, 0);
    first.eax = kAll & ~(7U << 5U);
    first.eax |= 1U << 5U;
    EXPECT_EQ((guest_leaf(first, {.count = 8}).eax >> 14U) & 0xfffU, 0U);
    Entry last = leaf(4, 3);
    last.eax = (last.eax & ~(7U << 5U)) | (3U << 5U);
    EXPECT_EQ((guest_leaf(last, {.count = 8}).eax >> 14U) & 0xfffU, 7U);
    EXPECT_EQ(guest_leaf(last, {.count = 8}).eax >> 26U, 7U);
}

TEST(Cpuid, AmdCoreCountIsOurs) {
    const Entry sizes = guest_leaf(leaf(0x8000'0008), {.apic_id = 1, .count = 2});
    EXPECT_EQ(sizes.ecx & 0xffU, 1U);
    EXPECT_EQ((sizes.ecx >> 12U) & 0xfU, 1U);
    EXPECT_EQ(sizes.eax, kAll);  // address sizes are the host's
    const Entry id = guest_leaf(leaf(0x8000'001e), {.apic_id = 1, .count = 2});
    EXPECT_EQ(id.eax, 1U);
    EXPECT_EQ(id.ebx, 1U);
}

}  // namespace
}  // namespace pepita::vmm
