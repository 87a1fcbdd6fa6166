#include "storage/vhost_user_block.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/vhost_user.h"
#include "kernel-abi/uapi/virtio_blk.h"
#include "kernel-abi/uapi/virtio_config.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/driver.h"
#include "test/support/growing_disk.h"
#include "test/support/vhost_user_front.h"

namespace pepita::storage {
namespace {

using test::Direction;
using test::GuestRam;
using test::QueueDriver;
using test::VhostUserFront;
using enum abi::VhostUserRequest;

constexpr std::uint64_t kFeatures = abi::kVirtioFVersion1 | abi::kVirtioFEventIdx |
                                    abi::kVirtioFIndirectDesc | abi::kVhostUserFProtocolFeatures |
                                    abi::kVirtioBlkFFlush | abi::kVirtioBlkFMq;

class VhostUserBlockTest : public testing::Test {
protected:
    void SetUp() override {
        (void)::signal(SIGPIPE, SIG_IGN);
        std::string pattern = testing::TempDir() + "/vhost-user-block-XXXXXX";
        ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
        directory_ = pattern;
        auto disk =
            test::GrowingDisk::open_file_at(directory_ + "/disk", Sectors(2048), Sectors(8192));
        ASSERT_TRUE(disk.has_value()) << disk.error().message();
        disk_ = *std::move(disk);
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    std::string socket() const { return directory_ + "/blk.sock"; }
    auto start(std::uint16_t queues = 2) {
        return VhostUserBlock::start(disk_,
                                     {.socket = socket(), .serial = "test", .queues = queues});
    }

    // One front end's life up to the point where two queues run.
    struct Guest {
        GuestRam ram{1_MiB};
        QueueDriver first{ram};
        QueueDriver second{ram};
        std::unique_ptr<EventLoop> loop = *EventLoop::create();
        VhostUserFront front;
        VhostUserFront::QueueFds first_fds;
        VhostUserFront::QueueFds second_fds;

        explicit Guest(const std::string& socket) : front(*loop, *connect_unix(socket)) {
            front.send(SetProtocolFeatures,
                       abi::kVhostUserProtocolReplyAck | abi::kVhostUserProtocolConfig |
                           abi::kVhostUserProtocolMq | abi::kVhostUserProtocolBackendReq |
                           abi::kVhostUserProtocolInflightShmfd);
            front.send(SetFeatures, kFeatures);
            front.share(ram);
            first_fds = front.start_queue(first, 0);
            second_fds = front.start_queue(second, 1);
            await_answer();
        }
        void await_answer() {
            front.send(SetOwner, {}, {}, abi::kVhostUserVersion | abi::kVhostUserNeedReply);
            const auto reply = front.await();
            ASSERT_TRUE(reply.has_value());
            EXPECT_EQ(reply->as<std::uint64_t>(), 0U);
        }
        // Moves one sector, and gives the status.
        std::uint8_t move(std::uint32_t type, std::uint64_t sector, virtio::GuestAddress data) {
            const abi::VirtioBlkRequestHeader header{.type = type, .reserved = 0, .sector = sector};
            const virtio::GuestAddress head = ram.place(std::as_bytes(std::span(&header, 1)));
            const virtio::GuestAddress status = ram.allocate(1);
            ram.write(status, std::uint8_t{0xee});
            (void)second.add({{.at = head, .length = sizeof(header)},
                              {.at = data,
                               .length = 512,
                               .direction = type == abi::kVirtioBlkTIn ? Direction::FromDevice
                                                                       : Direction::ToDevice},
                              {.at = status, .length = 1, .direction = Direction::FromDevice}});
            test::signal_eventfd(second_fds.kick);
            while (!second.collect()) {
                test::await_eventfd(second_fds.call);
                (void)test::drain_eventfd(second_fds.call);
            }
            return ram.read<std::uint8_t>(status);
        }
    };

    std::string directory_;
    std::shared_ptr<test::GrowingDisk> disk_;
};

TEST_F(VhostUserBlockTest, ServesOneFrontEndAfterTheOther) {
    const auto server = start();
    ASSERT_TRUE(server.has_value()) << server.error().message();
    for (int i = 0; i < 3; ++i) {
        Guest guest(socket());
        const virtio::GuestAddress data = guest.ram.allocate(512);
        const std::string text(512, static_cast<char>('a' + i));
        std::memcpy(guest.ram.at(data, 512).data(), text.data(), text.size());
        EXPECT_EQ(guest.move(abi::kVirtioBlkTOut, 7, data), 0);
        const virtio::GuestAddress back = guest.ram.allocate(512);
        EXPECT_EQ(guest.move(abi::kVirtioBlkTIn, 7, back), 0);
        EXPECT_EQ(guest.ram.text_at(back, 512), text);
    }
}

// The front end holds its eventfd too: it makes it blocking again, and fills it.
TEST_F(VhostUserBlockTest, X1_ACallThatWouldBlockKeepsNobodyWaiting) {
    const auto server = start();
    ASSERT_TRUE(server.has_value()) << server.error().message();
    Guest guest(socket());
    const int call = guest.second_fds.call.ref().number();
    (void)test::drain_eventfd(guest.second_fds.call);
    ASSERT_EQ(::fcntl(call, F_SETFL, 0), 0);
    const std::uint64_t most = UINT64_MAX - 1;
    ASSERT_EQ(::write(call, &most, sizeof(most)), 8);
    const virtio::GuestAddress data = guest.ram.allocate(512);
    EXPECT_EQ(guest.move(abi::kVirtioBlkTIn, 7, data), 0);
    guest.await_answer();
    (*server)->stop();
    EXPECT_FALSE(std::filesystem::exists(socket()));
}

TEST_F(VhostUserBlockTest, X1_NothingButAnEventfdIsTakenForOne) {
    const auto server = start();
    ASSERT_TRUE(server.has_value()) << server.error().message();
    for (const auto request : {SetVringCall, SetVringKick, SetVringErr}) {
        const auto loop = *EventLoop::create();
        VhostUserFront front(*loop, *connect_unix(socket()));
        const auto [ours, theirs] = *socket_pair();
        const std::array fds{theirs.ref()};
        front.send(request, std::uint64_t{0}, fds);
        front.send(GetFeatures, {});
        EXPECT_FALSE(front.await().has_value()) << std::to_underlying(request);
    }
}

// Who can open the directory can hold a lock on it for ever.
TEST_F(VhostUserBlockTest, X5_ALockOnTheDirectoryKeepsNobodyWaiting) {
    const Fd directory = *open_file(directory_.c_str(), O_RDONLY | O_DIRECTORY);
    ASSERT_EQ(::flock(directory.ref().number(), LOCK_EX), 0);
    { const Fd dead = *listen_unix(socket()); }
    const auto server = start();
    ASSERT_TRUE(server.has_value()) << server.error().message();
    const Guest guest(socket());
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(directory_), {}), 2)
        << "the disk and the socket";
}

TEST_F(VhostUserBlockTest, OffersItsQueues) {
    const auto server = start(3);
    ASSERT_TRUE(server.has_value());
    const auto loop = *EventLoop::create();
    VhostUserFront front(*loop, *connect_unix(socket()));
    front.send(GetFeatures, {});
    const auto features = front.await();
    ASSERT_TRUE(features.has_value());
    EXPECT_NE(features->as<std::uint64_t>() & abi::kVirtioBlkFMq, 0U);
    front.send(GetQueueNum, {});
    const auto queues = front.await();
    ASSERT_TRUE(queues.has_value());
    EXPECT_EQ(queues->as<std::uint64_t>(), 3U);
}

TEST_F(VhostUserBlockTest, ANewCapacityIsAnnouncedAndUsed) {
    const auto server = start();
    ASSERT_TRUE(server.has_value());
    Guest guest(socket());
    auto [ours, theirs] = *socket_pair();
    const std::array fds{theirs.ref()};
    guest.front.send(SetBackendReqFd, {}, fds);
    guest.await_answer();
    const virtio::GuestAddress data = guest.ram.allocate(512);
    EXPECT_EQ(guest.move(abi::kVirtioBlkTOut, 2048, data), 1);

    disk_->resize(Sectors(4096));
    (*server)->capacity_changed();
    (*server)->capacity_changed();  // nothing new in that
    VhostUserFront channel(*guest.loop, std::move(ours));
    const auto told = channel.await();
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->header.request, std::to_underlying(abi::VhostUserBackendRequest::ConfigChange));
    guest.await_answer();
    EXPECT_FALSE(channel.receive().has_value());

    struct Asked {
        abi::VhostUserConfigHeader header;
        std::array<std::byte, 8> capacity;
    };
    guest.front.send(GetConfig,
                     Asked{.header = {.offset = 0, .size = 8, .flags = 0}, .capacity = {}});
    const auto config = guest.front.await();
    ASSERT_TRUE(config.has_value());
    std::uint64_t capacity = 0;
    ASSERT_EQ(config->payload.size(), sizeof(abi::VhostUserConfigHeader) + sizeof(capacity));
    std::memcpy(&capacity, config->payload.data() + sizeof(abi::VhostUserConfigHeader),
                sizeof(capacity));
    EXPECT_EQ(capacity, 4096U);
    EXPECT_EQ(guest.move(abi::kVirtioBlkTOut, 2048, data), 0);
}

TEST_F(VhostUserBlockTest, AFrontEndThatComesBackIsToldToLookAgain) {
    const auto server = start();
    ASSERT_TRUE(server.has_value());
    GuestRam ram{1_MiB};
    const QueueDriver queue(ram);
    const auto loop = *EventLoop::create();
    VhostUserFront front(*loop, *connect_unix(socket()));
    front.send(SetProtocolFeatures,
               abi::kVhostUserProtocolBackendReq | abi::kVhostUserProtocolInflightShmfd);
    front.send(SetFeatures, kFeatures);
    front.send(
        GetInflightFd,
        abi::VhostUserInflight{
            .mmap_size = 0, .mmap_offset = 0, .num_queues = 2, .queue_size = 8, .padding = {}});
    const auto inflight = front.await();
    ASSERT_TRUE(inflight.has_value());
    const std::array file{inflight->fds.at(0).ref()};
    front.send(SetInflightFd, inflight->as<abi::VhostUserInflight>(), file);
    auto [ours, theirs] = *socket_pair();
    const std::array fds{theirs.ref()};
    front.send(SetBackendReqFd, {}, fds);
    front.share(ram);
    const auto queue_fds = front.start_queue(queue, 0);
    VhostUserFront channel(*loop, std::move(ours));
    const auto told = channel.await();
    ASSERT_TRUE(told.has_value());
    EXPECT_EQ(told->header.request, std::to_underlying(abi::VhostUserBackendRequest::ConfigChange));
}

TEST_F(VhostUserBlockTest, ALivingServersSocketIsTaken) {
    const auto first = start();
    ASSERT_TRUE(first.has_value());
    const auto second = start();
    ASSERT_FALSE(second.has_value());
    EXPECT_EQ(second.error().code(), Code::AlreadyExists);
    EXPECT_NE(second.error().message().find("somebody listens"), std::string::npos)
        << second.error().message();
    Guest guest(socket());  // the first one goes on
}

TEST_F(VhostUserBlockTest, ADeadServersSocketIsReplaced) {
    { const Fd dead = *listen_unix(socket()); }
    ASSERT_TRUE(std::filesystem::exists(socket()));
    const auto server = start();
    ASSERT_TRUE(server.has_value()) << server.error().message();
    Guest guest(socket());
}

TEST_F(VhostUserBlockTest, AFileIsNotReplaced) {
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), socket(), "data", 0600).has_value());
    const auto server = start();
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(server.error().code(), Code::AlreadyExists);
    EXPECT_EQ(*read_file(socket()), "data");
}

TEST_F(VhostUserBlockTest, SocketIsPrivateAndGoesWithTheServer) {
    auto server = start();
    ASSERT_TRUE(server.has_value());
    struct stat status{};
    ASSERT_EQ(::stat(socket().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
    Guest guest(socket());
    (*server)->stop();
    (*server)->stop();
    EXPECT_FALSE(std::filesystem::exists(socket()));
    guest.front.send(GetFeatures, {});
    EXPECT_FALSE(guest.front.await().has_value());
}

TEST_F(VhostUserBlockTest, SomebodyElsesSocketStays) {
    auto server = start();
    ASSERT_TRUE(server.has_value());
    std::filesystem::remove(socket());
    const Fd other = *listen_unix(socket());
    (*server)->stop();
    EXPECT_TRUE(std::filesystem::exists(socket()));
}

TEST_F(VhostUserBlockTest, NothingLeaks) {
    const auto descriptors = [] {
        std::size_t count = 0;
        for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
            (void)entry;
            ++count;
        }
        return count;
    };
    { const auto warm_up = start(); }
    const std::size_t before = descriptors();
    for (int i = 0; i < 5; ++i) {
        const auto server = start();
        ASSERT_TRUE(server.has_value());
        Guest guest(socket());
        EXPECT_GT(descriptors(), before);
    }
    EXPECT_EQ(descriptors(), before);
}

TEST_F(VhostUserBlockTest, RefusesBadOptions) {
    EXPECT_EQ(start(0).error().message(), "0 queues: 1 to 64");
    EXPECT_EQ(start(257).error().code(), Code::InvalidArgument);
    EXPECT_EQ(VhostUserBlock::start(disk_, {.socket = directory_ + "/none/blk.sock", .serial = {}})
                  .error()
                  .code(),
              Code::NotFound);
    EXPECT_EQ(
        VhostUserBlock::start(disk_, {.socket = socket(), .serial = "no spaces"}).error().code(),
        Code::InvalidArgument);
    EXPECT_EQ(VhostUserBlock::start(
                  disk_, {.socket = directory_ + "/" + std::string(107, 's'), .serial = {}})
                  .error()
                  .code(),
              Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::storage
