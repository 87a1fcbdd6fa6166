#include "kernel-abi/uapi/blk_mq.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/ublk_cmd.h>
#include <linux/virtio_blk.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/abi/btf.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/uapi/version.h"

namespace pepita::abi {
namespace {

// include/linux/blk_types.h of Linux 6.18; programs do not get to see it.
static_assert(value_of(ReqOp::Read) == 0);
static_assert(value_of(ReqOp::Write) == 1);
static_assert(value_of(ReqOp::Flush) == 2);
static_assert(value_of(ReqOp::Discard) == 3);
static_assert(value_of(ReqOp::SecureErase) == 5);
static_assert(value_of(ReqOp::ZoneAppend) == 7);
static_assert(value_of(ReqOp::WriteZeroes) == 9);
static_assert(value_of(ReqOp::ZoneOpen) == 11);
static_assert(value_of(ReqOp::ZoneClose) == 13);
static_assert(value_of(ReqOp::ZoneFinish) == 15);
static_assert(value_of(ReqOp::ZoneReset) == 17);
static_assert(value_of(ReqOp::ZoneResetAll) == 19);
static_assert(value_of(ReqOp::DrvIn) == 34);
static_assert(value_of(ReqOp::DrvOut) == 35);

static_assert(flag(ReqFlagBit::FailfastDev) == 0x100);
static_assert(flag(ReqFlagBit::FailfastTransport) == 0x200);
static_assert(flag(ReqFlagBit::FailfastDriver) == 0x400);
static_assert(flag(ReqFlagBit::Sync) == 0x800);
static_assert(flag(ReqFlagBit::Meta) == 0x1000);
static_assert(flag(ReqFlagBit::Prio) == 0x2000);
static_assert(flag(ReqFlagBit::Nomerge) == 0x4000);
static_assert(flag(ReqFlagBit::Idle) == 0x8000);
static_assert(flag(ReqFlagBit::Integrity) == 0x10000);
static_assert(flag(ReqFlagBit::Fua) == 0x20000);
static_assert(flag(ReqFlagBit::Preflush) == 0x40000);
static_assert(flag(ReqFlagBit::Rahead) == 0x80000);
static_assert(flag(ReqFlagBit::Background) == 0x100000);
static_assert(flag(ReqFlagBit::Nowait) == 0x200000);
static_assert(flag(ReqFlagBit::Polled) == 0x400000);
static_assert(flag(ReqFlagBit::AllocCache) == 0x800000);
static_assert(flag(ReqFlagBit::Swap) == 0x1000000);
static_assert(flag(ReqFlagBit::Drv) == 0x2000000);
static_assert(flag(ReqFlagBit::FsPrivate) == 0x4000000);
static_assert(flag(ReqFlagBit::Atomic) == 0x8000000);

constexpr const BlockOperation& operation(ReqOp op) {
    return *std::ranges::find(kBlockOperations, op, &BlockOperation::linux_op);
}
static_assert(kBlockOperations.size() == 5);
static_assert(operation(ReqOp::Read).ublk == UBLK_IO_OP_READ);
static_assert(operation(ReqOp::Write).ublk == UBLK_IO_OP_WRITE);
static_assert(operation(ReqOp::Flush).ublk == UBLK_IO_OP_FLUSH);
static_assert(operation(ReqOp::Discard).ublk == UBLK_IO_OP_DISCARD);
static_assert(operation(ReqOp::WriteZeroes).ublk == UBLK_IO_OP_WRITE_ZEROES);
static_assert(operation(ReqOp::Read).virtio_blk == VIRTIO_BLK_T_IN);
static_assert(operation(ReqOp::Write).virtio_blk == VIRTIO_BLK_T_OUT);
static_assert(operation(ReqOp::Flush).virtio_blk == VIRTIO_BLK_T_FLUSH);
static_assert(operation(ReqOp::Discard).virtio_blk == VIRTIO_BLK_T_DISCARD);
static_assert(operation(ReqOp::WriteZeroes).virtio_blk == VIRTIO_BLK_T_WRITE_ZEROES);
static_assert(kBlkMqMaxDepth == 10240);

/// The kernel that runs says the same of each name that it has, and it has most of them.
TEST(BlkMqAbi, ThisKernelNumbersThemSo) {
    constexpr const char* path = "/sys/kernel/btf/vmlinux";
    if (::access(path, R_OK) != 0) {
        GTEST_SKIP() << "the kernel does not publish its types in " << path;
    }
    const std::string bytes =
        read_all(open_file(path, O_RDONLY)->ref(), std::size_t{256} << 20U, path).value();
    const pepita::btf::Types kernel =
        pepita::btf::Types::parse(std::as_bytes(std::span(bytes))).value();
    std::vector<Symbol> all(kReqOps.begin(), kReqOps.end());
    all.insert(all.end(), kReqFlagBits.begin(), kReqFlagBits.end());
    std::size_t known = 0;
    for (const Symbol& symbol : all) {
        if (const auto value = kernel.value_of(symbol.linux_name)) {
            EXPECT_EQ(*value, symbol.value) << symbol.linux_name;
            ++known;
        }
    }
    EXPECT_GE(known, kReqOps.size());
}

}  // namespace
}  // namespace pepita::abi
