#include "vmm/vsock/packet.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>

#include "kernel-abi/uapi/virtio_vsock.h"

namespace pepita::vmm::vsock {
namespace {

constexpr std::uint64_t kCid = 7;

abi::VsockHeader good_header() {
    return {.src_cid = kCid,
            .dst_cid = abi::kVsockHostCid,
            .src_port = 1000,
            .dst_port = 52,
            .len = 10,
            .type = abi::kVsockTypeStream,
            .op = std::to_underlying(VsockOp::Rw),
            .flags = 0,
            .buf_alloc = 4096,
            .fwd_cnt = 11};
}

TEST(VsockPacket, GuestsPortIsTheSourceOfWhatTheGuestSends) {
    const Decoded decoded = decode(good_header(), kCid, 10);
    EXPECT_EQ(decoded.verdict, Verdict::Good);
    EXPECT_EQ(decoded.packet, (Packet{.ports = {.host = 52, .guest = 1000},
                                      .op = VsockOp::Rw,
                                      .length = 10,
                                      .buf_alloc = 4096,
                                      .fwd_cnt = 11}));
}

TEST(VsockPacket, LengthBeyondTheChainIsRefused) {
    EXPECT_EQ(decode(good_header(), kCid, 9).verdict, Verdict::Refuse);
}

TEST(VsockPacket, OtherCidsAreNotOurs) {
    abi::VsockHeader header = good_header();
    header.src_cid = kCid + 1;
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Drop);
    header = good_header();
    header.dst_cid = 3;
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Drop);
    header.dst_cid = abi::kVsockHostCid | (1ULL << 32U);
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Drop);
}

TEST(VsockPacket, UnknownTypesAndOperationsAreRefused) {
    abi::VsockHeader header = good_header();
    header.type = 2;
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Refuse);
    header = good_header();
    header.op = 0;
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Refuse);
    header.op = 8;
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Refuse);
}

TEST(VsockPacket, AResetIsNeverAnsweredWithAReset) {
    abi::VsockHeader header = good_header();
    header.op = std::to_underlying(VsockOp::Rst);
    header.type = 2;
    EXPECT_EQ(decode(header, kCid, 10).verdict, Verdict::Drop);
}

TEST(VsockPacket, RefusalGoesBackWithTheTypeThatCame) {
    abi::VsockHeader header = good_header();
    header.type = 2;
    const abi::VsockHeader answer = encode(refusal_of(decode(header, kCid, 10).packet), kCid);
    EXPECT_EQ(+answer.op, std::to_underlying(VsockOp::Rst));
    EXPECT_EQ(+answer.type, 2);
    EXPECT_EQ(+answer.src_cid, abi::kVsockHostCid);
    EXPECT_EQ(+answer.dst_cid, kCid);
    EXPECT_EQ(+answer.src_port, 52U);
    EXPECT_EQ(+answer.dst_port, 1000U);
    EXPECT_EQ(+answer.len, 0U);
}

}  // namespace
}  // namespace pepita::vmm::vsock
