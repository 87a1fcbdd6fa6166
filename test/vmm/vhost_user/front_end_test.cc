#include "vmm/vhost_user/front_end.h"

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/device.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "test/support/fake_vhost_user_server.h"

namespace pepita::vmm {
namespace {

using enum abi::VhostUserRequest;
using test::FakeVhostUserServer;

constexpr std::uint32_t kReply = abi::kVhostUserVersion | abi::kVhostUserReply;

class FrontEndTest : public testing::Test {
protected:
    Result<VhostUserFrontEnd> connect() {
        return VhostUserFrontEnd::create(server_.take_front_end(), lent_);
    }
    std::string error_of_connect() {
        const auto connected = connect();
        return connected ? "" : connected.error().message();
    }
    std::vector<abi::VhostUserRequest> heard() {
        std::vector<abi::VhostUserRequest> requests;
        for (const auto& message : server_.hear()) {
            requests.push_back(message.request);
        }
        return requests;
    }

    test::GuestRam ram_;
    LentMemory lent_ = test::lend(ram_);
    test::QueueDriver queue_{ram_};
    Fd kick_ = *create_eventfd();
    Fd call_ = *create_eventfd();
    FakeVhostUserServer server_;
};

TEST_F(FrontEndTest, LendsMemoryAndQueuesInTheOrderThatServersNeed) {
    server_.greet();
    VhostUserFrontEnd front_end = *connect();
    ASSERT_TRUE(front_end.start(abi::kVirtioFVersion1).has_value());
    ASSERT_TRUE(front_end.start_queue(1, queue_.setup(), {.kick = kick_.ref(), .call = call_.ref()})
                    .has_value());
    EXPECT_EQ(heard(), (std::vector{GetFeatures, GetProtocolFeatures, SetProtocolFeatures, SetOwner,
                                    SetFeatures, SetMemTable, SetVringNum, SetVringBase,
                                    SetVringAddr, SetVringCall, SetVringKick, SetVringEnable}));
}

TEST_F(FrontEndTest, SendsOneDescriptorForEachRegionAndEventfd) {
    server_.greet();
    VhostUserFrontEnd front_end = *connect();
    ASSERT_TRUE(front_end.start(0).has_value());
    ASSERT_TRUE(front_end.start_queue(0, queue_.setup(), {.kick = kick_.ref(), .call = call_.ref()})
                    .has_value());
    std::size_t fds = 0;
    for (const auto& message : server_.hear()) {
        const bool has_one = message.request == SetMemTable || message.request == SetVringCall ||
                             message.request == SetVringKick;
        EXPECT_EQ(message.fds, has_one ? 1U : 0U);
        fds += message.fds;
    }
    EXPECT_EQ(fds, 3U);
}

TEST_F(FrontEndTest, DescribesTheMemoryAsItIs) {
    server_.greet();
    VhostUserFrontEnd front_end = *connect();
    (void)server_.hear();
    ASSERT_TRUE(front_end.start(0).has_value());
    const auto heard = server_.hear();
    ASSERT_EQ(heard.back().request, SetMemTable);
    struct Table {
        abi::VhostUserMemoryHeader header;
        abi::VhostUserMemoryRegion region;
    } table{};
    ASSERT_EQ(heard.back().payload.size(), sizeof(table));
    std::memcpy(&table, heard.back().payload.data(), sizeof(table));
    EXPECT_EQ(table.header.count, 1U);
    EXPECT_EQ(table.region.guest_address, 0U);
    EXPECT_EQ(table.region.size, ram_.bytes().size());
    EXPECT_EQ(table.region.user_address, lent_.regions[0].user_address);
    EXPECT_EQ(table.region.file_offset, 0U);
}

TEST_F(FrontEndTest, RefusesAServerWithoutWhatTransportsOffer) {
    for (const std::uint64_t missing :
         {abi::kVirtioFVersion1, abi::kVirtioFEventIdx, abi::kVirtioFIndirectDesc,
          abi::kVhostUserFProtocolFeatures}) {
        FakeVhostUserServer server;
        server.greet(FakeVhostUserServer::kFeatures & ~missing);
        const auto connected = VhostUserFrontEnd::create(server.take_front_end(), lent_);
        ASSERT_FALSE(connected.has_value());
        EXPECT_EQ(connected.error().code(), Code::Unsupported);
    }
}

TEST_F(FrontEndTest, RefusesTheAnswerToAnotherRequest) {
    server_.answer(GetQueueNum, std::uint64_t{1});
    EXPECT_EQ(error_of_connect(), "vhost-user server: the answer to GET_FEATURES is none");
}

TEST_F(FrontEndTest, RefusesWhatIsNoAnswer) {
    const std::array<std::byte, 8> payload{};
    server_.say({.request = 1, .flags = abi::kVhostUserVersion, .size = 8}, payload);
    EXPECT_EQ(error_of_connect(), "vhost-user server: the answer to GET_FEATURES is none");
}

TEST_F(FrontEndTest, RefusesAnAnswerOfAnotherSize) {
    const std::array<std::byte, 8> payload{};
    server_.say({.request = 1, .flags = kReply, .size = 0xffff'ffff}, payload);
    EXPECT_EQ(error_of_connect(),
              "vhost-user server: the answer to GET_FEATURES has 4294967295 B where 8 are due");
}

TEST_F(FrontEndTest, AServerThatLeavesIsAnError) {
    server_.hang_up();
    EXPECT_NE(error_of_connect(), "");
}

TEST_F(FrontEndTest, AServerThatLeavesAmidAnAnswerIsAnError) {
    server_.say({.request = 1, .flags = kReply, .size = 8}, {});
    server_.hang_up();
    EXPECT_NE(error_of_connect(), "");
}

TEST_F(FrontEndTest, ARingOutsideOfMemoryReachesNoServer) {
    server_.greet();
    VhostUserFrontEnd front_end = *connect();
    (void)server_.hear();
    virtio::QueueSetup setup = queue_.setup();
    setup.geometry.used = virtio::GuestAddress{ram_.bytes().size() - 4};
    const auto started =
        front_end.start_queue(0, setup, {.kick = kick_.ref(), .call = call_.ref()});
    ASSERT_FALSE(started.has_value());
    EXPECT_EQ(started.error().code(), Code::OutOfRange);
    EXPECT_TRUE(server_.hear().empty());
}

TEST_F(FrontEndTest, AStoppedQueueSaysWhereItStopped) {
    server_.greet();
    VhostUserFrontEnd front_end = *connect();
    server_.answer(GetVringBase, abi::VhostUserVringState{.index = 1, .num = 0xffff});
    EXPECT_EQ(*front_end.stop_queue(1), 0xffff);
}

TEST_F(FrontEndTest, RefusesAnIndexThatIsNone) {
    server_.greet();
    VhostUserFrontEnd front_end = *connect();
    server_.answer(GetVringBase, abi::VhostUserVringState{.index = 1, .num = 0x1'0000});
    EXPECT_FALSE(front_end.stop_queue(1).has_value());
    server_.answer(GetVringBase, abi::VhostUserVringState{.index = 0, .num = 0});
    EXPECT_FALSE(front_end.stop_queue(1).has_value());
}

}  // namespace
}  // namespace pepita::vmm
