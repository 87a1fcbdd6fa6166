#include "storage/daemon/node.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "test/support/fake_volumes.h"

namespace pepita::storage::daemon {
namespace {

using api::AttachSpec;
using api::FrontEnd;
using api::VolumeInfo;
using api::VolumeKind;
using api::VolumeSpec;
using Lines = std::vector<std::string>;

class NodeTest : public testing::Test {
protected:
    NodeTest() {
        std::string name = testing::TempDir() + "node_XXXXXX";
        directory_ = ::mkdtemp(name.data());
        node_ = *open();
        log_.lines.clear();
    }
    ~NodeTest() override { std::filesystem::remove_all(directory_); }
    NodeTest(const NodeTest&) = delete;
    NodeTest& operator=(const NodeTest&) = delete;
    NodeTest(NodeTest&&) = delete;
    NodeTest& operator=(NodeTest&&) = delete;

    /// A node over what `kept_` says is in the store.
    Result<std::unique_ptr<Node>> open() {
        auto backing = std::make_unique<test::FakeBacking>(log_);
        backing->volumes = kept_;
        Node::Parts parts{.backing = std::move(backing),
                          .exporters = {},
                          .state = *open_file(directory_.c_str(), O_RDONLY | O_DIRECTORY)};
        parts.exporters[FrontEnd::VhostUser] = std::make_unique<test::FakeExporter>(log_);
        return Node::open(std::move(parts));
    }
    static VolumeSpec spec(const std::string& name) {
        return {.name = name, .capacity = Bytes(8192), .file = ""};
    }
    /// After a restart, with the volumes a and b in the store.
    std::unique_ptr<Node> reopened() {
        node_.reset();
        kept_ = {{"a", spec("a")}, {"b", spec("b")}};
        log_.lines.clear();
        return *open();
    }
    template <typename T>
    static void expect_error(const Result<T>& result, Code code, const std::string& message) {
        ASSERT_FALSE(result.has_value());
        EXPECT_EQ(result.error().code(), code);
        EXPECT_EQ(result.error().message(), message);
    }

    std::string directory_;
    test::VolumeLog log_;
    std::map<std::string, VolumeSpec> kept_;
    std::unique_ptr<Node> node_;
};

TEST_F(NodeTest, AVolumeIsMadeOnceAndListed) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    expect_error(node_->create(spec("a")), Code::AlreadyExists, "volume 'a' exists");
    const std::vector<VolumeInfo> all = node_->list();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].spec, spec("a"));
    EXPECT_EQ(all[0].pages.stored, 7U);
    EXPECT_FALSE(all[0].attachment.has_value());
    EXPECT_EQ(node_->stats().store.objects, 9U);
}

TEST_F(NodeTest, EveryCallNamesAVolumeThatDoesNotExist) {
    const std::string message = "volume 'x' does not exist";
    expect_error(node_->attach("x", {}), Code::NotFound, message);
    expect_error(node_->detach("x"), Code::NotFound, message);
    expect_error(node_->resize("x", Bytes(4096)), Code::NotFound, message);
    expect_error(node_->snapshot("x", FdRef(0)), Code::NotFound, message);
    expect_error(node_->restore("x", FdRef(0)), Code::NotFound, message);
    expect_error(node_->remove("x"), Code::NotFound, message);
    EXPECT_EQ(log_.lines, Lines{});
}

TEST_F(NodeTest, AnAttachedVolumeAllowsLittle) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    EXPECT_EQ(node_->attach("a", {}).value(), "/fake/a");
    const std::string message = "volume 'a' is attached at '/fake/a'";
    expect_error(node_->attach("a", {}), Code::FailedPrecondition, message);
    expect_error(node_->remove("a"), Code::FailedPrecondition, message);
    EXPECT_TRUE(node_->snapshot("a", FdRef(0)).has_value());
    expect_error(node_->restore("a", FdRef(0)), Code::FailedPrecondition, message);
    expect_error(node_->resize("a", Bytes(4096)), Code::FailedPrecondition,
                 "make smaller: " + message);
    ASSERT_TRUE(node_->detach("a").has_value());
    expect_error(node_->detach("a"), Code::FailedPrecondition, "volume 'a' is not attached");
    EXPECT_TRUE(node_->remove("a").has_value());
    EXPECT_TRUE(node_->list().empty());
}

TEST_F(NodeTest, WhatOnlyReadsMayBeSnapshot) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->attach("a", {.read_only = true}).has_value());
    EXPECT_TRUE(node_->snapshot("a", FdRef(0)).has_value());
    EXPECT_EQ(log_.lines, (Lines{"create a", "open a ro", "attach a 1", "snapshot a"}));
}

TEST_F(NodeTest, AFrontEndHearsOfGrowth) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->attach("a", {}).has_value());
    log_.lines.clear();
    ASSERT_TRUE(node_->resize("a", Bytes(16384)).has_value());
    EXPECT_EQ(log_.lines, (Lines{"resize a 16384", "resized /fake/a"}));
    EXPECT_EQ(node_->list()[0].spec.capacity, Bytes(16384));
}

TEST_F(NodeTest, AFrontEndThatIsNotThereIsUnsupported) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    expect_error(node_->attach("a", {.front_end = FrontEnd::Ublk}), Code::Unsupported,
                 "no front end 'ublk' here");
}

TEST_F(NodeTest, AFailedAttachLeavesTheVolumeFree) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    log_.error = "no device";
    expect_error(node_->attach("a", {}), Code::Internal, "no device");
    EXPECT_FALSE(node_->list()[0].attachment.has_value());
    EXPECT_TRUE(node_->attach("a", {}).has_value());
}

TEST_F(NodeTest, WhatCannotBeWrittenDownIsNotDone) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    std::filesystem::remove_all(directory_);
    EXPECT_FALSE(node_->create(spec("b")).has_value());
    EXPECT_EQ(node_->list().size(), 1U);
    EXPECT_EQ(log_.lines.back(), "remove b");
    EXPECT_FALSE(node_->attach("a", {}).has_value());
    EXPECT_EQ(log_.lines.back(), "stop /fake/a");
    EXPECT_FALSE(node_->list()[0].attachment.has_value());
}

TEST_F(NodeTest, ANewNodeServesWhatTheLastDid) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->create(spec("b")).has_value());
    const AttachSpec how{.queues = 3, .depth = 17, .read_only = true};
    ASSERT_TRUE(node_->attach("a", how).has_value());
    const auto again = reopened();
    EXPECT_EQ(log_.lines, (Lines{"open a ro", "recover a /fake/a", "remove strays but /fake/a"}));
    const std::vector<VolumeInfo> all = again->list();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[0].attachment.value(), (api::Attachment{.spec = how, .path = "/fake/a"}));
    EXPECT_FALSE(all[1].attachment.has_value());
}

TEST_F(NodeTest, AnOrderlyEndKeepsWhatWasAttachedForTheNext) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->attach("a", {}).has_value());
    node_->stop(Node::Ending::Leave);
    EXPECT_EQ(log_.lines.back(), "leave /fake/a");
    EXPECT_EQ(reopened()->list()[0].attachment.value().path, "/fake/a");
}

TEST_F(NodeTest, APurgeLeavesNothingAttached) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->attach("a", {}).has_value());
    node_->stop(Node::Ending::Purge);
    EXPECT_EQ(log_.lines.back(), "stop /fake/a");
    EXPECT_FALSE(reopened()->list()[0].attachment.has_value());
}

TEST_F(NodeTest, AVolumeThatCannotBeServedAgainIsKeptWithoutItsFrontEnd) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->attach("a", {}).has_value());
    log_.error = "gone";
    const auto again = reopened();
    EXPECT_FALSE(again->list()[0].attachment.has_value());
}

TEST_F(NodeTest, VolumesThatWentWithTheMemoryAreLeftOutAndFilesAreNot) {
    ASSERT_TRUE(node_->create(spec("lost")).has_value());
    ASSERT_TRUE(
        node_
            ->create(
                {.name = "disk", .kind = VolumeKind::File, .capacity = Bytes(512), .file = "/disk"})
            .has_value());
    const auto again = reopened();
    const std::vector<VolumeInfo> all = again->list();
    ASSERT_EQ(all.size(), 3U);  // a and b were made, but not written down
    EXPECT_EQ(all[0].spec.name, "a");
    EXPECT_EQ(all[1].spec.name, "b");
    EXPECT_EQ(all[2].spec.name, "disk");
}

TEST_F(NodeTest, S4_WhatTheListDoesNotKnowIsNotGuessed) {
    kept_["over"] = {
        .name = "over", .kind = VolumeKind::Overlay, .capacity = Bytes(8192), .file = ""};
    kept_["disk"] = spec("disk");
    const auto again = *open();
    const std::string message =
        "what volume 'over' is was not written down: it can only be deleted";
    expect_error(again->attach("over", {}), Code::FailedPrecondition, message);
    expect_error(again->snapshot("over", FdRef(0)), Code::FailedPrecondition, message);
    expect_error(again->restore("over", FdRef(0)), Code::FailedPrecondition, message);
    expect_error(again->resize("over", Bytes(16384)), Code::FailedPrecondition, message);
    EXPECT_TRUE(again->attach("disk", {}).has_value());  // of a disk all is known
    const std::vector<VolumeInfo> all = again->list();
    ASSERT_EQ(all.size(), 2U);
    EXPECT_EQ(all[1].spec.kind, VolumeKind::Overlay);
    // It is no less unknown the next time.
    const auto third = *open();
    expect_error(third->attach("over", {}), Code::FailedPrecondition, message);
    EXPECT_TRUE(third->remove("over").has_value());
    EXPECT_EQ(log_.lines.back(), "remove over");
}

TEST_F(NodeTest, S4_AListThatContradictsTheStoreIsNotBelieved) {
    ASSERT_TRUE(node_->create(spec("a")).has_value());
    ASSERT_TRUE(node_->attach("a", {}).has_value());
    kept_["a"] = {.name = "a", .kind = VolumeKind::Overlay, .capacity = Bytes(8192), .file = ""};
    const auto again = *open();
    EXPECT_FALSE(again->list()[0].attachment.has_value());
    EXPECT_EQ(again->attach("a", {}).error().code(), Code::FailedPrecondition);
}

TEST_F(NodeTest, AStateThatIsNotOursIsDataLossAndStaysAsItIs) {
    const std::string path = directory_ + "/" + Node::kStateFile;
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), path, "{}", 0600).has_value());
    const auto opened = open();
    ASSERT_FALSE(opened.has_value());
    EXPECT_EQ(opened.error().code(), Code::DataLoss);
    EXPECT_EQ(read_file(path).value(), "{}");
}

}  // namespace
}  // namespace pepita::storage::daemon
