#include "kernel-abi/uapi/io_uring.h"

#include <gtest/gtest.h>
#include <linux/io_uring.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"

// Against Debian's header, which is Linux 6.1's: what it has, is as ours.
#define SAME_PLACE(ours, our_member, theirs, their_member) \
    static_assert(offsetof(ours, our_member) == offsetof(theirs, their_member))

namespace pepita::abi {
namespace {

static_assert(sizeof(IoUringSqe) == sizeof(io_uring_sqe));
SAME_PLACE(IoUringSqe, opcode, io_uring_sqe, opcode);
SAME_PLACE(IoUringSqe, flags, io_uring_sqe, flags);
SAME_PLACE(IoUringSqe, ioprio, io_uring_sqe, ioprio);
SAME_PLACE(IoUringSqe, fd, io_uring_sqe, fd);
SAME_PLACE(IoUringSqe, off, io_uring_sqe, off);
SAME_PLACE(IoUringSqe, off, io_uring_sqe, cmd_op);
SAME_PLACE(IoUringSqe, addr, io_uring_sqe, addr);
SAME_PLACE(IoUringSqe, len, io_uring_sqe, len);
SAME_PLACE(IoUringSqe, op_flags, io_uring_sqe, uring_cmd_flags);
SAME_PLACE(IoUringSqe, user_data, io_uring_sqe, user_data);
SAME_PLACE(IoUringSqe, buf_index, io_uring_sqe, buf_index);
SAME_PLACE(IoUringSqe, personality, io_uring_sqe, personality);
SAME_PLACE(IoUringSqe, file_index, io_uring_sqe, file_index);
SAME_PLACE(IoUringSqe, addr3, io_uring_sqe, addr3);
SAME_PLACE(IoUringSqe, addr3, io_uring_sqe, cmd);
SAME_PLACE(IoUringCqe, user_data, io_uring_cqe, user_data);
SAME_PLACE(IoUringCqe, res, io_uring_cqe, res);
SAME_PLACE(IoUringCqe, flags, io_uring_cqe, flags);

static_assert(sizeof(IoUringParams) == sizeof(io_uring_params));
SAME_PLACE(IoUringParams, features, io_uring_params, features);
SAME_PLACE(IoUringParams, wq_fd, io_uring_params, wq_fd);
SAME_PLACE(IoUringParams, sq_off, io_uring_params, sq_off);
SAME_PLACE(IoUringParams, cq_off, io_uring_params, cq_off);
static_assert(sizeof(IoUringSqOffsets) == sizeof(io_sqring_offsets));
static_assert(sizeof(IoUringCqOffsets) == sizeof(io_cqring_offsets));
static_assert(sizeof(IoUringProbeOp) == sizeof(io_uring_probe_op));
static_assert(sizeof(IoUringRsrcRegister) == sizeof(io_uring_rsrc_register));
static_assert(sizeof(IoUringRsrcUpdate2) == sizeof(io_uring_rsrc_update2));
static_assert(sizeof(IoUringGeteventsArg) == sizeof(io_uring_getevents_arg));
static_assert(sizeof(IoUringBuf) == sizeof(io_uring_buf));
static_assert(sizeof(IoUringBufReg) == sizeof(io_uring_buf_reg));
static_assert(sizeof(IoUringSyncCancelReg) == sizeof(io_uring_sync_cancel_reg));
static_assert(sizeof(IoUringFileIndexRange) == sizeof(io_uring_file_index_range));

static_assert(kIoUringSqeFixedFile == IOSQE_FIXED_FILE);
static_assert(kIoUringSqeIoDrain == IOSQE_IO_DRAIN);
static_assert(kIoUringSqeIoLink == IOSQE_IO_LINK);
static_assert(kIoUringSqeIoHardlink == IOSQE_IO_HARDLINK);
static_assert(kIoUringSqeAsync == IOSQE_ASYNC);
static_assert(kIoUringSqeBufferSelect == IOSQE_BUFFER_SELECT);
static_assert(kIoUringSqeCqeSkipSuccess == IOSQE_CQE_SKIP_SUCCESS);
static_assert(kIoUringCqeBuffer == IORING_CQE_F_BUFFER);
static_assert(kIoUringCqeMore == IORING_CQE_F_MORE);
static_assert(kIoUringCqeSockNonempty == IORING_CQE_F_SOCK_NONEMPTY);
static_assert(kIoUringCqeNotif == IORING_CQE_F_NOTIF);
static_assert(kIoUringSetupIopoll == IORING_SETUP_IOPOLL);
static_assert(kIoUringSetupSqpoll == IORING_SETUP_SQPOLL);
static_assert(kIoUringSetupSqAff == IORING_SETUP_SQ_AFF);
static_assert(kIoUringSetupCqsize == IORING_SETUP_CQSIZE);
static_assert(kIoUringSetupClamp == IORING_SETUP_CLAMP);
static_assert(kIoUringSetupAttachWq == IORING_SETUP_ATTACH_WQ);
static_assert(kIoUringSetupRDisabled == IORING_SETUP_R_DISABLED);
static_assert(kIoUringSetupSubmitAll == IORING_SETUP_SUBMIT_ALL);
static_assert(kIoUringSetupCoopTaskrun == IORING_SETUP_COOP_TASKRUN);
static_assert(kIoUringSetupTaskrunFlag == IORING_SETUP_TASKRUN_FLAG);
static_assert(kIoUringSetupSqe128 == IORING_SETUP_SQE128);
static_assert(kIoUringSetupCqe32 == IORING_SETUP_CQE32);
static_assert(kIoUringSetupSingleIssuer == IORING_SETUP_SINGLE_ISSUER);
static_assert(kIoUringSetupDeferTaskrun == IORING_SETUP_DEFER_TASKRUN);
static_assert(kIoUringOffSqRing == IORING_OFF_SQ_RING);
static_assert(kIoUringOffCqRing == IORING_OFF_CQ_RING);
static_assert(kIoUringOffSqes == IORING_OFF_SQES);
static_assert(kIoUringProbeOpSupported == IO_URING_OP_SUPPORTED);

// The byte where the kernel reads cmd_op, and where the payload begins.
constexpr std::array<std::byte, 17> kPayload{std::byte{1}, std::byte{2}};
static_assert(uring_cmd(3, 0xc0207504, kPayload, 9, kUringCmdPayloadMax128)->entry.off ==
              0xc0207504);
static_assert(!uring_cmd(3, 0xc0207504, kPayload, 9, kUringCmdPayloadMax).has_value());
static_assert(!uring_cmd(3, 1, kPayload, 9, kUringCmdPayloadMax128 + 1).has_value());

TEST(IoUringAbi, ACommandStandsWhereTheKernelReadsIt) {
    std::array<std::byte, 80> payload{};
    for (std::size_t i = 0; i < payload.size(); ++i) {
        payload[i] = static_cast<std::byte>(i + 1);
    }
    const auto made = uring_cmd(7, 0x12345678, payload, 42, kUringCmdPayloadMax128);
    ASSERT_TRUE(made.has_value());
    std::array<std::byte, 128> bytes{};
    std::memcpy(bytes.data(), &*made, sizeof(*made));
    io_uring_sqe theirs{};
    std::memcpy(&theirs, bytes.data(), sizeof(theirs));
    EXPECT_EQ(theirs.opcode, IORING_OP_URING_CMD);
    EXPECT_EQ(theirs.fd, 7);
    EXPECT_EQ(theirs.cmd_op, 0x12345678U);
    EXPECT_EQ(theirs.uring_cmd_flags, 0U);
    EXPECT_EQ(theirs.user_data, 42U);
    EXPECT_EQ(std::memcmp(&bytes[48], payload.data(), payload.size()), 0);
}

TEST(IoUringAbi, OperationsAreNumberedInTheirOrder) {
    for (std::size_t i = 0; i < kIoUringOps.size(); ++i) {
        EXPECT_EQ(kIoUringOps[i].value, i) << kIoUringOps[i].linux_name;
    }
    for (std::size_t i = 0; i < kIoUringRegisterOps.size(); ++i) {
        EXPECT_EQ(kIoUringRegisterOps[i].value, i) << kIoUringRegisterOps[i].linux_name;
    }
}

/// This kernel has our operations up to some number, and we know of all that it has.
TEST(IoUringAbi, ThisKernelsProbeKnowsNoOperationThatWeDoNot) {
    IoUringParams params{};
    const Fd ring(static_cast<int>(::syscall(SYS_io_uring_setup, 4, &params)));
    if (!ring) {
        GTEST_SKIP() << "no io_uring here: " << std::strerror(errno);
    }
    constexpr std::size_t most = 256;
    std::vector<std::byte> room(sizeof(IoUringProbe) + most * sizeof(IoUringProbeOp));
    ASSERT_EQ(::syscall(SYS_io_uring_register, ring.ref().number(),
                        value_of(IoUringRegisterOp::Probe), room.data(), most),
              0);
    IoUringProbe probe{};
    std::memcpy(&probe, room.data(), sizeof(probe));
    EXPECT_LE(probe.last_op + 1U, kIoUringOps.size());
    for (std::size_t i = 0; i < probe.ops_len; ++i) {
        IoUringProbeOp operation{};
        std::memcpy(&operation, &room[sizeof(probe) + i * sizeof(operation)], sizeof(operation));
        EXPECT_EQ(operation.op, i);
    }
}

}  // namespace
}  // namespace pepita::abi
