#include "storage/api/storage_api.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/channel.h"
#include "storage/api/storage.pb.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_storage_service.h"

namespace pepita::storage::api {
namespace {

namespace pb = ::pepita::storage::v1;

constexpr const char* kService = "pepita.storage.v1.Storage";

class StorageApiTest : public testing::Test {
protected:
    template <typename T, typename Ask>
    Result<T> answer(Ask ask) {
        return pair_.answer<T>(std::move(ask));
    }
    Result<void> create(const VolumeSpec& volume) {
        return answer<void>([&](auto done) { client_.create(volume, std::move(done)); });
    }
    Result<std::string> attach(const AttachSpec& how) {
        return answer<std::string>([&](auto done) { client_.attach("web", how, std::move(done)); });
    }
    /// The request was refused in these words, and the service did not hear of it.
    template <typename T>
    void expect_refused(const Result<T>& answer, const std::string& message) {
        ASSERT_FALSE(answer.has_value());
        EXPECT_EQ(answer.error().code(), Code::InvalidArgument);
        EXPECT_EQ(answer.error().message(), message);
        EXPECT_EQ(service_.method, "");
    }

    test::FakeStorageService service_;
    test::ChannelPair pair_{
        [this](runtime::Channel::Call call) { dispatch(service_, std::move(call)); }};
    StorageClient client_{pair_.client};
};

TEST_F(StorageApiTest, EveryFieldOfACreateArrives) {
    const VolumeSpec volume{.name = "web-1",
                            .kind = VolumeKind::Overlay,
                            .capacity = Bytes(123U << 20U),
                            .domain = "tenant-b",
                            .file = "/var/base.img"};
    ASSERT_TRUE(create(volume).has_value());
    EXPECT_EQ(service_.created, volume);
    const VolumeSpec direct{
        .name = "web-2", .kind = VolumeKind::File, .capacity = {}, .file = "/disk", .direct = true};
    ASSERT_TRUE(create(direct).has_value());
    EXPECT_EQ(service_.created, direct);
}

TEST_F(StorageApiTest, EveryFieldOfAnAttachArrivesAndThePathComesBack) {
    const AttachSpec how{
        .front_end = FrontEnd::Ublk, .queues = 64, .depth = 4096, .read_only = true};
    EXPECT_EQ(attach(how).value(), "/run/x.sock");
    EXPECT_EQ(service_.name, "web");
    EXPECT_EQ(service_.attached, how);
}

TEST_F(StorageApiTest, ADepthThatIsNotSaidIsTheUsualOneOfUblkAlone) {
    ASSERT_TRUE(attach({.front_end = FrontEnd::Ublk}).has_value());
    EXPECT_EQ(service_.attached.depth, 128U);
    ASSERT_TRUE(attach({.front_end = FrontEnd::VhostUser}).has_value());
    EXPECT_EQ(service_.attached.depth, 0U);
}

TEST_F(StorageApiTest, DetachDeleteAndResizeReachTheirOwnMethods) {
    ASSERT_TRUE(answer<void>([&](auto done) { client_.detach("a", std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "detach");
    ASSERT_TRUE(answer<void>([&](auto done) { client_.remove("b", std::move(done)); }).has_value());
    EXPECT_EQ(service_.method, "remove");
    EXPECT_EQ(service_.name, "b");
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.resize("c", Bytes(1ULL << 40U), std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "resize");
    EXPECT_EQ(service_.name, "c");
    EXPECT_EQ(service_.capacity, Bytes(1ULL << 40U));
}

TEST_F(StorageApiTest, SnapshotAndRestoreHandTheFileOver) {
    const Fd null = *open_file("/dev/null", O_RDWR);
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.snapshot("web", null.ref(), std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "snapshot");
    struct stat theirs{};
    struct stat ours{};
    ASSERT_EQ(::fstat(service_.file.ref().number(), &theirs), 0);
    ASSERT_EQ(::fstat(null.ref().number(), &ours), 0);
    EXPECT_EQ(theirs.st_rdev, ours.st_rdev);
    ASSERT_TRUE(answer<void>([&](auto done) {
                    client_.restore("web", null.ref(), std::move(done));
                }).has_value());
    EXPECT_EQ(service_.method, "restore");
}

TEST_F(StorageApiTest, EveryFieldOfAListAndOfStatsComesBack) {
    service_.volumes = test::full_volumes();
    service_.numbers = test::full_stats();
    EXPECT_EQ(
        answer<std::vector<VolumeInfo>>([&](auto done) { client_.list(std::move(done)); }).value(),
        test::full_volumes());
    EXPECT_EQ(answer<StorageStats>([&](auto done) { client_.stats(std::move(done)); }).value(),
              test::full_stats());
}

TEST_F(StorageApiTest, AnErrorKeepsItsCodeAndWords) {
    service_.error = "volume 'web' does not exist";
    const auto path = attach({});
    ASSERT_FALSE(path.has_value());
    EXPECT_EQ(path.error().code(), Code::NotFound);
    EXPECT_EQ(path.error().message(), "volume 'web' does not exist");
}

TEST_F(StorageApiTest, AnUnknownServiceOrMethodIsUnsupported) {
    EXPECT_EQ(pair_.raw("pepita.storage.v2.Storage", "List", "").error().code(), Code::Unsupported);
    EXPECT_EQ(pair_.raw(kService, "Format", "").error().message(), "no method 'Format'");
}

TEST_F(StorageApiTest, ASnapshotWithoutAFileIsRefused) {
    pb::NameRequest request;
    request.set_name("web");
    expect_refused(pair_.raw(kService, "Snapshot", request.SerializeAsString()),
                   "one file must come with the request");
}

TEST_F(StorageApiTest, AKindOrFrontEndThatIsNotKnownIsRefused) {
    pb::CreateRequest volume;
    volume.set_name("web");
    volume.set_kind(static_cast<pb::Kind>(77));
    expect_refused(pair_.raw(kService, "Create", volume.SerializeAsString()),
                   "no such kind of volume: 77");
    pb::AttachRequest attach;
    attach.set_name("web");
    expect_refused(pair_.raw(kService, "Attach", attach.SerializeAsString()),
                   "no such front end: 0");
}

struct BadVolume {
    std::string what;
    std::function<void(VolumeSpec&)> spoil;
    std::string message;
};

const std::string kBadName = ": must be 1 to 63 of A-Z a-z 0-9 . _ - and not begin with a dot";

class StorageApiVolume : public StorageApiTest, public testing::WithParamInterface<BadVolume> {};

TEST_P(StorageApiVolume, IsRefused) {
    VolumeSpec volume{.name = "web", .kind = VolumeKind::Zram, .capacity = Bytes(4096), .file = ""};
    ASSERT_TRUE(create(volume).has_value());
    service_.method = "";
    GetParam().spoil(volume);
    expect_refused(create(volume), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Bad, StorageApiVolume,
    testing::Values(
        BadVolume{"NoName", [](VolumeSpec& v) { v.name = ""; }, "name" + kBadName},
        BadVolume{"Path", [](VolumeSpec& v) { v.name = "a/b"; }, "name" + kBadName},
        BadVolume{"Parent", [](VolumeSpec& v) { v.name = ".."; }, "name" + kBadName},
        BadVolume{"Nul", [](VolumeSpec& v) { v.name = std::string("a\0b", 3); }, "name" + kBadName},
        BadVolume{"LongName", [](VolumeSpec& v) { v.name = std::string(64, 'x'); },
                  "name" + kBadName},
        BadVolume{"Domain", [](VolumeSpec& v) { v.domain = "a b"; }, "domain" + kBadName},
        BadVolume{"NoCapacity", [](VolumeSpec& v) { v.capacity = Bytes(0); },
                  "capacity 0: must be at least one page of 4096 bytes"},
        BadVolume{"FileOfZram", [](VolumeSpec& v) { v.file = "/x"; },
                  "a volume of kind zram has no file"},
        BadVolume{"DirectZram", [](VolumeSpec& v) { v.direct = true; },
                  "only a volume of kind file is direct"},
        BadVolume{"NoFile", [](VolumeSpec& v) { v.kind = VolumeKind::File; },
                  "file: must be an absolute path"},
        BadVolume{"RelativeFile",
                  [](VolumeSpec& v) {
                      v.kind = VolumeKind::Overlay;
                      v.file = "x";
                  },
                  "file: must be an absolute path"}),
    [](const auto& bad) { return bad.param.what; });

TEST_F(StorageApiTest, ANameOf63IsTaken) {
    EXPECT_TRUE(check_storage_name(std::string(63, 'x'), "name").has_value());
}

TEST_F(StorageApiTest, QueuesAndDepthOutOfRangeAreRefused) {
    expect_refused(attach({.queues = 0}), "queues 0: must be 1 to 64");
    expect_refused(attach({.queues = 65}), "queues 65: must be 1 to 64");
    expect_refused(attach({.front_end = FrontEnd::Ublk, .depth = 4097}),
                   "queue depth 4097: must be 1 to 4096");
    expect_refused(attach({.depth = 1}),
                   "queue depth: a vhost-user front end decides itself (QEMU: queue-size=)");
}

class StorageApiMethod : public StorageApiTest, public testing::WithParamInterface<const char*> {};

TEST_P(StorageApiMethod, GarbageIsInvalidArgumentAndReachesNoService) {
    // Field 1 with a length that is not there.
    const auto reply = pair_.raw(kService, GetParam(), "\x0a\x7fx");
    ASSERT_FALSE(reply.has_value());
    EXPECT_EQ(reply.error().code(), Code::InvalidArgument);
    EXPECT_EQ(service_.method, "");
}

INSTANTIATE_TEST_SUITE_P(Every, StorageApiMethod,
                         testing::Values("Create", "Attach", "Detach", "Resize", "Snapshot",
                                         "Restore", "Delete", "List", "Stats"),
                         [](const auto& method) { return std::string(method.param); });

}  // namespace
}  // namespace pepita::storage::api
