#include "shim/attached_roots.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/guest_api.h"
#include "runtime/task_api.h"
#include "shim/microvm.h"
#include "test/support/channel_pair.h"
#include "test/support/fake_microvm.h"
#include "vmm/device_config.h"

namespace pepita::shim {
namespace {

template <typename T>
using Answer = std::shared_ptr<std::optional<Result<T>>>;

// The test plays the machine and the guest.
class AttachedRootsTest : public testing::Test {
protected:
    void SetUp() override {
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        std::filesystem::create_directories(scratch_ + "/root/etc");
        use(false);
    }
    void TearDown() override {
        pair_.client->close();
        roots_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }
    void use(bool has_scratch, std::optional<runtime::ImageRoot> first = std::nullopt) {
        roots_ = std::make_unique<AttachedRoots>(
            *pair_.loop, clock_,
            AttachedRoots::Ways{
                .attach =
                    [this](vmm::DeviceConfig device, runtime::OnResult<std::string> done) {
                        attached_.push_back(device.id);
                        parts_.push_back(device.fds.size());
                        const auto& disk = std::get<vmm::DiskConfig>(device.kind);
                        read_only_.push_back(disk.access == vmm::Access::ReadOnly);
                        if (refused_ == device.id) {
                            return done(Error(Code::ResourceExhausted, "no slot is free"));
                        }
                        present_.push_back(device.id);
                        done(std::string("0000:00:01.0"));
                    },
                .detach =
                    [this](const std::string& id, runtime::OnResult<void> done) {
                        if (detach_error_) {
                            return done(Error(Code::Aborted, *detach_error_));
                        }
                        std::erase(present_, id);
                        done({});
                    },
                .open_image = [this](const runtime::ImageRoot& image) { return open(image); },
                .guest = guest_client_},
            AttachedRoots::Options{
                .place = scratch_, .has_scratch = has_scratch, .first_image = std::move(first)});
    }
    Result<std::vector<Fd>> open(const runtime::ImageRoot& image) {
        opened_.push_back(image.id);
        if (image.id == "none") {
            return Error(Code::NotFound, "there is no image none");
        }
        std::vector<Fd> parts;
        for (int i = 0; i < 3; ++i) {
            parts.push_back(*open_file("/dev/null", O_RDONLY));
        }
        return parts;
    }
    static RootSource image(const std::string& id, std::optional<Bytes> scratch = std::nullopt) {
        return {.path = "",
                .is_packed = false,
                .image = runtime::ImageRoot{.store = "/images", .id = id},
                .scratch = scratch,
                .container = "",
                .shared = {}};
    }
    RootSource root(std::optional<Bytes> scratch = std::nullopt) {
        return {.path = scratch_ + "/root",
                .is_packed = true,
                .image = {},
                .scratch = scratch,
                .container = "",
                .shared = {}};
    }
    Answer<RootDisks> begin(const RootSource& root) {
        auto answer = std::make_shared<std::optional<Result<RootDisks>>>();
        roots_->add(root, [answer](Result<RootDisks> added) { answer->emplace(std::move(added)); });
        return answer;
    }
    template <typename T>
    Result<T> wait(const Answer<T>& answer) {
        for (int round = 0; round < 2000 && !answer->has_value(); ++round) {
            EXPECT_TRUE(pair_.loop->run_once(std::chrono::milliseconds(10)).has_value());
        }
        return std::move(*answer).value();
    }
    Result<RootDisks> add(const RootSource& root) { return wait<RootDisks>(begin(root)); }
    Result<void> remove(const std::string& serial) {
        return remove(RootDisks{.root_serial = serial});
    }
    Result<void> remove(const RootDisks& disks) {
        auto answer = std::make_shared<std::optional<Result<void>>>();
        roots_->remove(disks,
                       [answer](Result<void> removed) { answer->emplace(std::move(removed)); });
        for (int round = 0; round < 3000 && !answer->has_value(); ++round) {
            EXPECT_TRUE(pair_.loop->run_once(std::chrono::milliseconds(1)).has_value());
            clock_.advance(std::chrono::milliseconds(50));
        }
        return wait<void>(answer);
    }

    std::string scratch_ = "/tmp/pepita-roots-XXXXXX";
    test::FakeClock clock_;
    test::FakeGuest guest_;
    test::ChannelPair pair_{
        [this](runtime::Channel::Call call) { dispatch(guest_, std::move(call)); }};
    runtime::GuestClient guest_client_{pair_.client};
    std::vector<std::string> attached_;
    std::vector<bool> read_only_;
    std::vector<std::string> present_;
    std::string refused_;
    std::vector<std::size_t> parts_;  // of each disk in attached_
    std::vector<std::string> opened_;
    std::optional<std::string> detach_error_;
    std::unique_ptr<AttachedRoots> roots_;
};

TEST_F(AttachedRootsTest, ADiskIsPackedAttachedAndFound) {
    const Result<RootDisks> added = add(root());
    ASSERT_TRUE(added.has_value()) << added.error().message();
    EXPECT_EQ(present_, std::vector{added->root_serial});
    EXPECT_EQ(read_only_, std::vector{true});
    EXPECT_EQ(added->scratch_serial, "");
    EXPECT_EQ(guest_.rescans, 1);

    ASSERT_TRUE(remove(added->root_serial).has_value());
    EXPECT_EQ(guest_.released, std::vector{added->root_serial});
    EXPECT_TRUE(present_.empty());
}

TEST_F(AttachedRootsTest, EachHasASerialOfItsOwn) {
    const Result<RootDisks> first = add(root());
    const Result<RootDisks> second = add(root());
    ASSERT_TRUE(first && second);
    EXPECT_NE(first->root_serial, second->root_serial);
    EXPECT_LE(second->root_serial.size(), vmm::DeviceConfig::kIdMax);
}

TEST_F(AttachedRootsTest, AllThatWriteShareOneScratchDisk) {
    const auto first = begin(root(Bytes(16_MiB)));
    const auto second = begin(root(Bytes(16_MiB)));
    const Result<RootDisks> one = wait<RootDisks>(first);
    const Result<RootDisks> two = wait<RootDisks>(second);
    ASSERT_TRUE(one.has_value()) << one.error().message();
    ASSERT_TRUE(two.has_value()) << two.error().message();
    EXPECT_EQ(attached_.front(), "scratch");
    EXPECT_EQ(attached_.size(), 3U);
    EXPECT_FALSE(read_only_.front());
    EXPECT_EQ(one->scratch_serial, "scratch");
    EXPECT_EQ(two->scratch_serial, "scratch");

    ASSERT_TRUE(add(root(Bytes(16_MiB))).has_value());
    EXPECT_EQ(attached_.size(), 4U);
}

TEST_F(AttachedRootsTest, OneThatTheMachineHasFromItsStartIsUsed) {
    use(true);
    const Result<RootDisks> added = add(root(Bytes(16_MiB)));
    ASSERT_TRUE(added.has_value()) << added.error().message();
    EXPECT_EQ(attached_.size(), 1U);
    EXPECT_EQ(added->scratch_serial, "scratch");
}

TEST_F(AttachedRootsTest, AScratchDiskThatIsRefusedIsTriedAgain) {
    refused_ = "scratch";
    const Result<RootDisks> refused = add(root(Bytes(16_MiB)));
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message(), "make the scratch disk: no slot is free");
    refused_.clear();
    EXPECT_TRUE(add(root(Bytes(16_MiB))).has_value());
}

TEST_F(AttachedRootsTest, ARootThatCannotBePackedOrAttachedSaysWhy) {
    const Result<RootDisks> missing = add({.path = scratch_ + "/none",
                                           .is_packed = true,
                                           .image = {},
                                           .scratch = {},
                                           .container = "",
                                           .shared = {}});
    ASSERT_FALSE(missing.has_value());
    EXPECT_TRUE(missing.error().message().starts_with("pack the root file system: mkfs.erofs"))
        << missing.error().message();
    EXPECT_TRUE(attached_.empty());

    refused_ = "root-2";
    const Result<RootDisks> refused = add(root());
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message(), "attach the root disk: no slot is free");
}

TEST_F(AttachedRootsTest, ADiskThatTheGuestDoesNotFindIsDetached) {
    guest_.rescan_error = "no bus";
    guest_.release_error = Code::NotFound;
    guest_.releases_refused = 1;
    const Result<RootDisks> added = add(root());
    ASSERT_FALSE(added.has_value());
    EXPECT_EQ(added.error().message(), "find the root disk: no bus");
    EXPECT_EQ(attached_.size(), 1U);
    EXPECT_TRUE(present_.empty());
}

TEST_F(AttachedRootsTest, ADiskInUseIsAskedForUntilItIsFree) {
    const Result<RootDisks> added = add(root());
    ASSERT_TRUE(added.has_value());
    guest_.release_error = Code::FailedPrecondition;
    guest_.releases_refused = 3;
    ASSERT_TRUE(remove(added->root_serial).has_value());
    EXPECT_EQ(guest_.released.size(), 4U);
    EXPECT_TRUE(present_.empty());
}

TEST_F(AttachedRootsTest, AGuestThatNeverLetsGoKeepsTheDisk) {
    const Result<RootDisks> added = add(root());
    ASSERT_TRUE(added.has_value());
    guest_.release_error = Code::FailedPrecondition;
    guest_.releases_refused = 1'000;
    const Result<void> removed = remove(added->root_serial);
    ASSERT_FALSE(removed.has_value());
    EXPECT_EQ(removed.error().message(), "disk 'root-1': the test says so");
    EXPECT_EQ(guest_.released.size(), 200U);
    EXPECT_EQ(present_, std::vector{added->root_serial});
}

TEST_F(AttachedRootsTest, ADiskThatTheMachineStartedWithStays) {
    ASSERT_TRUE(remove("root").has_value());
    EXPECT_TRUE(guest_.released.empty());
}

TEST_F(AttachedRootsTest, ContainersOfAnImageShareItsDisk) {
    const auto first = begin(image("a", Bytes(16_MiB)));
    const auto second = begin(image("a", Bytes(16_MiB)));
    const Result<RootDisks> one = wait<RootDisks>(first);
    const Result<RootDisks> two = wait<RootDisks>(second);
    const Result<RootDisks> three = add(image("a"));
    const Result<RootDisks> other = add(image("b"));
    ASSERT_TRUE(one && two && three && other);
    EXPECT_EQ(opened_, (std::vector<std::string>{"a", "b"}));
    EXPECT_EQ(attached_.size(), 3U) << "the scratch disk and one of each image";
    EXPECT_EQ(parts_, (std::vector<std::size_t>{1, 3, 3}));
    EXPECT_EQ(read_only_, (std::vector<bool>{false, true, true}));
    EXPECT_EQ(one->root_serial, two->root_serial);
    EXPECT_EQ(one->root_serial, three->root_serial);
    EXPECT_NE(one->root_serial, other->root_serial);
    EXPECT_EQ(one->scratch_serial, "scratch");
    EXPECT_EQ(three->scratch_serial, "");
    EXPECT_EQ(guest_.rescans, 2);

    ASSERT_TRUE(remove(one->root_serial).has_value());
    ASSERT_TRUE(remove(one->root_serial).has_value());
    EXPECT_EQ(present_, attached_) << "the third has it";
    ASSERT_TRUE(remove(one->root_serial).has_value());
    EXPECT_EQ(guest_.released, std::vector{one->root_serial});
    EXPECT_EQ(present_, (std::vector<std::string>{"scratch", other->root_serial}));

    const Result<RootDisks> again = add(image("a"));
    ASSERT_TRUE(again.has_value());
    EXPECT_NE(again->root_serial, one->root_serial);
    EXPECT_EQ(opened_.size(), 3U);
}

TEST_F(AttachedRootsTest, ImagesAsMountsComeAfterTheRootAndGoWithIt) {
    RootSource source = image("a");
    source.volumes = {{.store = "/images", .id = "a"}, {.store = "/images", .id = "b"}};
    const Result<RootDisks> added = add(source);
    ASSERT_TRUE(added.has_value()) << added.error().message();
    EXPECT_EQ(opened_, (std::vector<std::string>{"a", "b"})) << "the root's disk serves twice";
    EXPECT_EQ(added->volumes.at("a"), added->root_serial);
    EXPECT_EQ(present_, (std::vector<std::string>{added->root_serial, added->volumes.at("b")}));
    const Result<RootDisks> other = add(image("b"));
    ASSERT_TRUE(other.has_value());
    EXPECT_EQ(other->root_serial, added->volumes.at("b"));

    ASSERT_TRUE(remove(*added).has_value());
    EXPECT_EQ(present_, std::vector{other->root_serial}) << "another container has it";
    ASSERT_TRUE(remove(*other).has_value());
    EXPECT_TRUE(present_.empty());
}

TEST_F(AttachedRootsTest, AnImageThatIsMissingTakesTheOthersWithIt) {
    RootSource source = image("a");
    source.volumes = {{.store = "/images", .id = "b"}, {.store = "/images", .id = "none"}};
    const Result<RootDisks> refused = add(source);
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().message(), "there is no image none");
    EXPECT_TRUE(present_.empty());
    EXPECT_EQ(guest_.released.size(), 2U);
}

TEST_F(AttachedRootsTest, AnImageThatCannotBeOpenedOrAttachedSaysWhyToAll) {
    EXPECT_EQ(add(image("none")).error().message(), "there is no image none");
    EXPECT_TRUE(attached_.empty());
    refused_ = "image-4";
    EXPECT_EQ(add(image("a")).error().message(), "attach the image's disk: no slot is free");
    refused_.clear();
    guest_.rescan_error = "no bus";
    const auto first = begin(image("a"));
    const auto second = begin(image("a"));
    EXPECT_EQ(wait<RootDisks>(first).error().message(), "find the image's disk: no bus");
    EXPECT_EQ(wait<RootDisks>(second).error().message(), "find the image's disk: no bus");
    EXPECT_TRUE(present_.empty());
    guest_.rescan_error.reset();
    EXPECT_TRUE(add(image("a")).has_value());
}

TEST_F(AttachedRootsTest, AnImageThatIsWantedWhileItLeavesComesAgain) {
    const Result<RootDisks> first = add(image("a"));
    ASSERT_TRUE(first.has_value());
    auto removed = std::make_shared<std::optional<Result<void>>>();
    roots_->remove(*first, [removed](Result<void> done) { removed->emplace(std::move(done)); });
    const Result<RootDisks> second = add(image("a"));
    ASSERT_TRUE(second.has_value());
    ASSERT_TRUE(wait<void>(removed).has_value());
    EXPECT_NE(second->root_serial, first->root_serial);
    EXPECT_EQ(present_, std::vector{second->root_serial});
}

TEST_F(AttachedRootsTest, AnImageThatStaysIsUsedAgain) {
    const Result<RootDisks> first = add(image("a"));
    ASSERT_TRUE(first.has_value());
    detach_error_ = "the driver uses it";
    const Result<void> removed = remove(first->root_serial);
    EXPECT_EQ(removed.error().message(), "disk '" + first->root_serial + "': the driver uses it");
    const Result<RootDisks> second = add(image("a"));
    ASSERT_TRUE(second.has_value());
    EXPECT_EQ(second->root_serial, first->root_serial);
    EXPECT_EQ(guest_.rescans, 2) << "the guest may have let go of it";
    detach_error_.reset();
    ASSERT_TRUE(remove(first->root_serial).has_value());
    EXPECT_TRUE(present_.empty());
}

TEST_F(AttachedRootsTest, TheImageThatTheMachineStartedWithIsSharedAndStays) {
    use(true, runtime::ImageRoot{.store = "/images", .id = "a"});
    const Result<RootDisks> second = add(image("a"));
    ASSERT_TRUE(second.has_value());
    EXPECT_EQ(second->root_serial, "root");
    EXPECT_TRUE(attached_.empty());
    ASSERT_TRUE(remove("root").has_value());
    ASSERT_TRUE(remove("root").has_value());
    EXPECT_TRUE(guest_.released.empty());
    EXPECT_EQ(add(image("a")).value().root_serial, "root");
}

TEST_F(AttachedRootsTest, NothingIsAnsweredOnceItIsGone) {
    const auto answer = begin(root());
    roots_.reset();
    for (int round = 0; round < 20; ++round) {
        ASSERT_TRUE(pair_.loop->run_once(std::chrono::milliseconds(1)).has_value());
    }
    EXPECT_FALSE(answer->has_value());
    EXPECT_TRUE(attached_.empty());
}

}  // namespace
}  // namespace pepita::shim
