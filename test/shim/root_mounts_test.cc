#include "shim/root_mounts.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"

namespace pepita::shim {
namespace {

using runtime::RootMount;

class RootMountsTest : public testing::Test {
protected:
    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "needs root for mounts";
        }
        ASSERT_NE(::mkdtemp(scratch_.data()), nullptr);
        for (const char* name : {"/root", "/one", "/two", "/upper", "/work"}) {
            std::filesystem::create_directory(scratch_ + name);
        }
        std::ofstream(scratch_ + "/one/1") << "1";
        std::ofstream(scratch_ + "/two/2") << "2";
    }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }
    auto mount(const std::vector<RootMount>& mounts) const {
        return RootMounts::mount(mounts, scratch_ + "/root");
    }
    bool has(const std::string& name) const {
        return std::filesystem::exists(scratch_ + "/root/" + name);
    }

    std::string scratch_ = "/tmp/pepita-root-XXXXXX";
};

RootMount bind_of(const std::string& source, const char* access) {
    return {.type = "bind", .source = source, .options = {"rbind", access}};
}

TEST_F(RootMountsTest, ABindIsThereUntilTheObjectGoes) {
    {
        const auto made = mount({bind_of(scratch_ + "/one", "ro")});
        ASSERT_TRUE(made.has_value()) << made.error().message();
        EXPECT_TRUE(has("1"));
        struct statvfs about{};
        ASSERT_EQ(::statvfs((scratch_ + "/root").c_str(), &about), 0);
        EXPECT_NE(about.f_flag & ST_RDONLY, 0U);
    }
    EXPECT_FALSE(has("1"));
}

// Two hundred layers with long names are more than the page that mount(2) takes.
TEST_F(RootMountsTest, AnOverlayMayHaveMoreLayersThanOnePageNames) {
    std::string layers;
    for (int i = 0; i < 200; ++i) {
        const std::string layer = scratch_ + "/a-directory-of-layers/" + std::to_string(i);
        std::filesystem::create_directories(layer);
        std::ofstream(layer + "/" + std::to_string(i)) << i;
        layers += (layers.empty() ? "" : ":") + layer;
    }
    const auto made =
        mount({{.type = "overlay",
                .source = "overlay",
                .options = {"index=off", "workdir=" + scratch_ + "/work",
                            "upperdir=" + scratch_ + "/upper", "lowerdir=" + layers}}});
    ASSERT_TRUE(made.has_value()) << made.error().message();
    EXPECT_TRUE(has("0"));
    EXPECT_TRUE(has("199"));
    EXPECT_EQ(std::filesystem::current_path(), "/");
}

TEST_F(RootMountsTest, WhatFailsUndoesWhatWasMounted) {
    const auto made =
        mount({bind_of(scratch_ + "/one", "rw"), bind_of(scratch_ + "/nosuch", "rw")});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().message(), "rootfs: mount '" + scratch_ +
                                          "/nosuch' of type 'bind' on '" + scratch_ +
                                          "/root': No such file or directory (ENOENT)");
    EXPECT_FALSE(has("1"));
}

TEST_F(RootMountsTest, AnOptionOfTheMountProgramsIsRefusedByName) {
    const auto made = mount({{.type = "ext4", .source = "/image", .options = {"loop"}}});
    ASSERT_FALSE(made.has_value());
    EXPECT_EQ(made.error().code(), Code::Unsupported);
    EXPECT_EQ(made.error().message(), "rootfs: mount option 'loop'");
}

}  // namespace
}  // namespace pepita::shim
