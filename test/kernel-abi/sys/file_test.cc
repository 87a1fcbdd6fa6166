#include "kernel-abi/sys/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <span>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"

namespace pepita {
namespace {

class FileTest : public testing::Test {
protected:
    FileTest() { EXPECT_NE(::mkdtemp(scratch_.data()), nullptr); }
    ~FileTest() override { std::filesystem::remove_all(scratch_); }

    std::string path(const std::string& name) const { return scratch_ + "/" + name; }
    std::ptrdiff_t entries() const {
        return std::distance(std::filesystem::directory_iterator(scratch_), {});
    }

    std::string scratch_ = "/tmp/pepita-file-XXXXXX";
};

TEST_F(FileTest, AllIsReadFromWhatHasNoSize) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const Fd out(ends[0]);
    {
        const Fd in(ends[1]);
        ASSERT_TRUE(write_all(in.ref(), std::string(10'000, 'x'), "a pipe").has_value());
    }
    EXPECT_EQ(*read_all(out.ref(), 10'000, "a pipe"), std::string(10'000, 'x'));
    EXPECT_TRUE(read_file("/proc/self/status")->starts_with("Name:"));
}

TEST_F(FileTest, MoreThanTheLimitIsAnErrorThatNamesTheFile) {
    const Fd zero = *open_file("/dev/zero", O_RDONLY);
    const auto text = read_all(zero.ref(), 5000, "/dev/zero");
    ASSERT_FALSE(text.has_value());
    EXPECT_EQ(text.error().code(), Code::OutOfRange);
    EXPECT_EQ(text.error().message(), "read '/dev/zero': larger than 5000 B");
}

TEST_F(FileTest, FullDevicesAreErrorsThatNameTheFile) {
    const auto written = write_file("/dev/full", "words");
    ASSERT_FALSE(written.has_value());
    EXPECT_EQ(written.error().sys_errno(), ENOSPC);
    EXPECT_TRUE(written.error().message().starts_with("write '/dev/full': "))
        << written.error().message();
}

TEST_F(FileTest, AFileIsReplacedWhole) {
    const std::string name = path("pid");
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), name, "a long first one", 0640).has_value());
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), name, "second", 0640).has_value());
    EXPECT_EQ(*read_file(name), "second");
    struct stat about{};
    ASSERT_EQ(::stat(name.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777U, 0640U);
    EXPECT_EQ(entries(), 1);
}

TEST_F(FileTest, X10_ATemporaryFileIsNeverSomebodysFileOrLink) {
    const std::string victim = path("victim");
    const std::string name = path("pid");
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), victim, "kept", 0600).has_value());
    ASSERT_EQ(::symlink(victim.c_str(), (name + ".new").c_str()), 0);
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), name, "1", 0600).has_value());
    ASSERT_EQ(::link(victim.c_str(), (name + ".new").c_str()), 0);
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), name, "2", 0600).has_value());
    EXPECT_EQ(*read_file(victim), "kept");
    EXPECT_EQ(*read_file(name), "2");
    EXPECT_EQ(entries(), 2);
    ASSERT_EQ(::mkdir((name + ".new").c_str(), 0700), 0);
    EXPECT_EQ(create_temporary(FdRef(AT_FDCWD), name + ".new", 0600).error().sys_errno(), EISDIR);
}

TEST_F(FileTest, AppendingMakesTheFileAndKeepsItsLines) {
    const std::string name = path("log");
    ASSERT_TRUE(write_all(open_to_append(name, 0600)->ref(), "a", name).has_value());
    ASSERT_TRUE(write_all(open_to_append(name, 0600)->ref(), "b", name).has_value());
    EXPECT_EQ(*read_file(name), "ab");
    EXPECT_EQ(open_to_append(path("no/log"), 0600).error().sys_errno(), ENOENT);
}

TEST_F(FileTest, WhereReplacingFailsAllIsAsItWas) {
    const std::string name = path("pid");
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), name, "first", 0600).has_value());
    // A disk that is full after two bytes, as far as this process can tell.
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit small{.rlim_cur = 2, .rlim_max = before.rlim_max};
    (void)::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto replaced = replace_file(FdRef(AT_FDCWD), name, "second", 0600);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    ASSERT_FALSE(replaced.has_value());
    EXPECT_EQ(replaced.error().sys_errno(), EFBIG);
    EXPECT_EQ(*read_file(name), "first");
    EXPECT_EQ(entries(), 1);

    ASSERT_EQ(::mkdir(path("taken").c_str(), 0700), 0);
    EXPECT_FALSE(replace_file(FdRef(AT_FDCWD), path("taken"), "file", 0600).has_value());
    EXPECT_EQ(entries(), 2);
}

TEST_F(FileTest, BytesThatAreNotThereAreOutOfRange) {
    const std::string name = path("file");
    ASSERT_TRUE(replace_file(FdRef(AT_FDCWD), name, "0123456789", 0600).has_value());
    const Fd file = *open_file(name.c_str(), O_RDONLY);
    EXPECT_EQ(file_size(file.ref())->value(), 10U);
    std::array<char, 4> some{};
    ASSERT_TRUE(read_exactly(file.ref(), std::as_writable_bytes(std::span(some)), 6).has_value());
    EXPECT_EQ(std::string(some.data(), some.size()), "6789");
    EXPECT_EQ(read_exactly(file.ref(), std::as_writable_bytes(std::span(some)), 7).error().code(),
              Code::OutOfRange);
    EXPECT_EQ(file_size(open_file("/", O_RDONLY)->ref()).error().code(), Code::InvalidArgument);
}

TEST_F(FileTest, ADirectoryIsMadeOnceAndMayBeThere) {
    EXPECT_TRUE(make_directory(path("one"), 0700).has_value());
    EXPECT_TRUE(make_directory(path("one"), 0700).has_value());
    const auto below = make_directory(path("none/two"), 0700);
    ASSERT_FALSE(below.has_value());
    EXPECT_TRUE(below.error().message().starts_with("make directory '" + path("none/two") + "'"));
}

}  // namespace
}  // namespace pepita
