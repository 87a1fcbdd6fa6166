#include "runtime/pod_api.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/api/pod_calls.pb.h"
#include "runtime/rpc/channel.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_pod_service.h"

namespace pepita::runtime {
namespace {

namespace pb = ::pepita::pod::v1;

constexpr const char* kService = "pepita.pod.v1.Pod";

// Devices stand for the streams here, since each can be told from the others.
Fd device(const char* path) { return *open_file(path, O_RDWR); }

bool is_device(const Fd& fd, const char* path) {
    struct stat ours{};
    struct stat theirs{};
    return fd && ::fstat(fd.ref().number(), &ours) == 0 && ::stat(path, &theirs) == 0 &&
           ours.st_rdev == theirs.st_rdev;
}

class PodApiTest : public testing::Test {
protected:
    template <typename Ask>
    Result<void> answer(Ask ask) {
        return pair_.answer<void>(std::move(ask));
    }
    Result<std::string> connect(std::uint32_t port, const std::string& socket) {
        pb::ConnectRequest request;
        request.set_port(port);
        request.set_socket(socket);
        return pair_.raw(kService, "Connect", request.SerializeAsString());
    }

    test::FakePodService service_;
    test::ChannelPair pair_{[this](Channel::Call call) {
        EXPECT_EQ(is_pod_call(call), call.service == kService);
        dispatch(service_, std::move(call));
    }};
    PodClient client_{pair_.client};
};

TEST_F(PodApiTest, ReopenLogNamesTheContainer) {
    ASSERT_TRUE(
        answer([&](auto done) { client_.reopen_log("web-1", std::move(done)); }).has_value());
    EXPECT_EQ(service_.container, "web-1");
}

TEST_F(PodApiTest, EveryStreamOfAnAttacherArrives) {
    ASSERT_TRUE(answer([&](auto done) {
                    client_.attach({.container = "web-1",
                                    .in = device("/dev/null"),
                                    .out = device("/dev/zero"),
                                    .err = device("/dev/full")},
                                   std::move(done));
                }).has_value());
    EXPECT_EQ(service_.attached.container, "web-1");
    EXPECT_TRUE(is_device(service_.attached.in, "/dev/null"));
    EXPECT_TRUE(is_device(service_.attached.out, "/dev/zero"));
    EXPECT_TRUE(is_device(service_.attached.err, "/dev/full"));
}

TEST_F(PodApiTest, AStreamThatIsNotAttachedIsNone) {
    ASSERT_TRUE(answer([&](auto done) {
                    client_.attach(
                        {.container = "web-1", .in = {}, .out = device("/dev/zero"), .err = {}},
                        std::move(done));
                }).has_value());
    EXPECT_FALSE(service_.attached.in);
    EXPECT_TRUE(is_device(service_.attached.out, "/dev/zero"));
    EXPECT_FALSE(service_.attached.err);
}

TEST_F(PodApiTest, ConnectSendsThePortAndTheSocket) {
    ASSERT_TRUE(answer([&](auto done) {
                    client_.connect(65'535, device("/dev/zero"), std::move(done));
                }).has_value());
    EXPECT_EQ(service_.port, 65'535);
    EXPECT_TRUE(is_device(service_.socket, "/dev/zero"));
}

TEST_F(PodApiTest, AUserIsItsNumbers) {
    const auto user =
        pair_.answer<UserIds>([&](auto done) { client_.user("web-1", std::move(done)); });
    EXPECT_EQ(user.value_or(UserIds{}),
              (UserIds{.uid = 1000, .gid = 100, .groups = {100, 50'000}}));
    EXPECT_EQ(service_.container, "web-1");
}

TEST_F(PodApiTest, APortThatIsNoneIsRefused) {
    EXPECT_EQ(connect(0, "").error().message(), "port 0 is none");
    EXPECT_EQ(connect(65'536, "").error().message(), "port 65536 is none");
}

TEST_F(PodApiTest, DescriptorsMustHaveCome) {
    EXPECT_EQ(connect(80, "fd:0").error().message(),
              "socket: 'fd:0' did not come with the request");
    EXPECT_EQ(connect(80, "").error().message(), "no socket came with the request");
    pb::AttachRequest request;
    request.set_stdin("/run/in");
    const auto attached = pair_.raw(kService, "Attach", request.SerializeAsString());
    EXPECT_EQ(attached.error().message(), "stdin: '/run/in' must be a descriptor");
}

TEST_F(PodApiTest, ErrorsOfTheServiceComeBack) {
    service_.error = "container 'web-1' has no log";
    const auto reply = answer([&](auto done) { client_.reopen_log("web-1", std::move(done)); });
    EXPECT_EQ(reply.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(reply.error().message(), "container 'web-1' has no log");
}

TEST_F(PodApiTest, OtherMethodsAndPayloadsAreRefused) {
    EXPECT_EQ(pair_.raw(kService, "Detach", "").error().code(), Code::Unsupported);
    EXPECT_EQ(pair_.raw(kService, "Attach", "\x0a\x7fx").error().code(), Code::InvalidArgument);
}

}  // namespace
}  // namespace pepita::runtime
