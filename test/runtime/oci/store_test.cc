#include "runtime/store.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/state.h"

namespace pepita::runtime::oci {
namespace {

class Store : public testing::Test {
public:
    Store() {
        std::string name = testing::TempDir() + "store-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        path_ = name;
        std::filesystem::create_directory(root());
    }
    ~Store() override { std::filesystem::remove_all(path_); }
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    Store(Store&&) = delete;
    Store& operator=(Store&&) = delete;

    std::filesystem::path root() const { return path_ / "root"; }
    ContainerStore open() const { return *ContainerStore::open(root().string()); }

protected:
    std::filesystem::path path_;
};

TEST_F(Store, ListsDirectoriesThatMayBeContainers) {
    std::filesystem::create_directory(root() / "b");
    std::filesystem::create_directory(root() / "a");
    std::filesystem::create_directory(root() / "not a name");
    std::ofstream(root() / "file") << "x";
    std::filesystem::create_directory_symlink("a", root() / "link");
    EXPECT_EQ(open().ids().value(), (std::vector<std::string>{"a", "b"}));
}

TEST_F(Store, MissingRootIsEmpty) {
    const auto store = ContainerStore::open((path_ / "none").string());
    ASSERT_TRUE(store.has_value());
    EXPECT_TRUE(store->ids()->empty());
    EXPECT_EQ(store->open_container("web").error().message(), "container 'web' does not exist");
    EXPECT_TRUE(store->remove("web").has_value());
}

TEST_F(Store, UnknownContainerIsNotFound) {
    EXPECT_EQ(open().open_container("web").error().code(), Code::NotFound);
    EXPECT_EQ(open().open_container("..").error().code(), Code::InvalidArgument);
}

TEST_F(Store, LinkIsNoContainer) {
    std::filesystem::create_directory_symlink("/", root() / "web");
    EXPECT_FALSE(open().open_container("web").has_value());
    EXPECT_FALSE(open().remove("web").has_value());
    EXPECT_TRUE(std::filesystem::exists("/"));
}

TEST_F(Store, RemovesWhatIsInsideAndNothingThatLinksPointTo) {
    std::filesystem::create_directories(root() / "web/deep/deeper");
    std::ofstream(root() / "web/deep/file") << "x";
    std::ofstream(path_ / "precious") << "x";
    std::filesystem::create_directory(path_ / "dear");
    std::filesystem::create_symlink(path_ / "precious", root() / "web/link");
    std::filesystem::create_directory_symlink(path_ / "dear", root() / "web/deep/link");
    ASSERT_TRUE(open().remove("web").has_value());
    EXPECT_FALSE(std::filesystem::exists(root() / "web"));
    EXPECT_TRUE(std::filesystem::exists(path_ / "precious"));
    EXPECT_TRUE(std::filesystem::exists(path_ / "dear"));
    EXPECT_TRUE(open().remove("web").has_value()) << "gone is no error";
}

// The test is the stand-in, and its network that of the pod.
TEST_F(Store, APodIsFoundByTheNetworkOfAStandIn) {
    std::filesystem::create_directory(root() / "web");
    const Fd directory = *open().open_container("web");
    ContainerState state;
    state.id = "web";
    state.pid = static_cast<std::uint32_t>(::getpid());
    state.pod = "pod";
    state.shim = identify_process(static_cast<std::uint32_t>(::getpid())).value();
    ASSERT_TRUE(write_state(directory.ref(), state).has_value());
    EXPECT_EQ(open().pod_of_network("/proc/self/ns/net").value(), "pod");
    EXPECT_EQ(open().pod_of_network("/proc/self/ns/mnt").value(), std::nullopt);
    EXPECT_EQ(open().pod_of_network("/run/netns/no-such").value(), std::nullopt);
    ++state.shim.start_ticks;  // a shim that has ended
    ASSERT_TRUE(write_state(directory.ref(), state).has_value());
    EXPECT_EQ(open().pod_of_network("/proc/self/ns/net").value(), std::nullopt);
}

TEST_F(Store, APodThatAKilledShimLeftGoesWithItsContainersAndAlone) {
    const auto add = [&](const std::string& id, const std::string& pod) {
        std::filesystem::create_directory(root() / id);
        const Fd directory = *open().open_container(id);
        ContainerState state;
        state.id = id;
        state.pod = pod;
        ASSERT_TRUE(write_state(directory.ref(), state).has_value());
    };
    std::filesystem::create_directories(root() / "pod/machine");  // it has no container of its name
    add("one", "pod");
    add("other", "others");
    std::filesystem::create_directory(root() / "stateless");
    {
        const Fd shims = *open().open_container("one");
        ASSERT_EQ(::flock(shims.ref().number(), LOCK_EX), 0);
        const auto removed = open().remove_pod("pod");
        ASSERT_FALSE(removed.has_value());
        EXPECT_EQ(removed.error().code(), Code::Unavailable);
        EXPECT_TRUE(std::filesystem::exists(root() / "one/state.json"));
    }
    ASSERT_TRUE(open().remove_pod("pod").has_value());
    EXPECT_EQ(open().ids().value(), (std::vector<std::string>{"other", "stateless"}));
    EXPECT_TRUE(open().remove_pod("pod").has_value()) << "gone is no error";
}

TEST_F(Store, RefusesToRemoveWhatNestsTooDeep) {
    std::filesystem::path deep = root() / "web";
    for (int i = 0; i < 18; ++i) {
        deep /= "d";
    }
    std::filesystem::create_directories(deep);
    EXPECT_EQ(open().remove("web").error().code(), Code::FailedPrecondition);
}

TEST_F(Store, ConnectsToAShimHoweverLongTheName) {
    const std::string id(128, 'x');
    std::filesystem::create_directory(root() / id);
    const Fd directory = *open().open_container(id);
    EXPECT_TRUE(has_no_shim(connect_shim(directory.ref()).error()));
    Fd listener = *listen_unix_at(directory.ref(), kShimSocket);
    EXPECT_TRUE(connect_shim(directory.ref()).has_value());
    { const Fd closed = std::move(listener); }
    EXPECT_TRUE(has_no_shim(connect_shim(directory.ref()).error()));
}

}  // namespace
}  // namespace pepita::runtime::oci
