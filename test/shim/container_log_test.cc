#include "shim/container_log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "test/support/small_tmpfs.h"

namespace pepita::shim {
namespace {

using std::chrono::milliseconds;

// 2026-11-30T18:40:00.000000042Z
const LogRecords::Time kNow{std::chrono::seconds(1'796'064'000) + std::chrono::nanoseconds(42)};
constexpr const char* kTime = "2026-11-30T18:40:00.000000042Z";

std::string record(const std::string& stream, char mark, const std::string& line) {
    return std::string(kTime) + " " + stream + " " + mark + " " + line + "\n";
}

class LogRecordsTest : public testing::Test {
protected:
    std::string add(std::string_view bytes) {
        std::string out;
        records_.add(bytes, kNow, out);
        return out;
    }
    std::string end() {
        std::string out;
        records_.end(kNow, out);
        return out;
    }

    LogRecords records_{LogStream::Stdout};
};

TEST_F(LogRecordsTest, EachLineIsARecord) {
    EXPECT_EQ(add("one\ntwo\n"), record("stdout", 'F', "one") + record("stdout", 'F', "two"));
    EXPECT_EQ(end(), "");
}

TEST_F(LogRecordsTest, StandardErrorIsNamed) {
    LogRecords records(LogStream::Stderr);
    std::string out;
    records.add("oh\n", kNow, out);
    EXPECT_EQ(out, record("stderr", 'F', "oh"));
}

TEST_F(LogRecordsTest, ALineMayComeInPieces) {
    EXPECT_EQ(add("o"), "");
    EXPECT_EQ(add("n"), "");
    EXPECT_EQ(add("e\nt"), record("stdout", 'F', "one"));
    EXPECT_EQ(add("wo"), "");
    EXPECT_EQ(add("\n"), record("stdout", 'F', "two"));
}

TEST_F(LogRecordsTest, EmptyLinesAreRecords) {
    EXPECT_EQ(add("\n\n"), record("stdout", 'F', "") + record("stdout", 'F', ""));
    EXPECT_EQ(add(""), "");
}

TEST_F(LogRecordsTest, AnyByteButANewlineIsPassedOn) {
    const std::string line("a\0b\r\x1b\xff", 6);
    EXPECT_EQ(add(line + "\n"), record("stdout", 'F', line));
}

TEST_F(LogRecordsTest, ALastLineWithoutItsNewlineIsPartial) {
    EXPECT_EQ(add("one\ntw"), record("stdout", 'F', "one"));
    EXPECT_EQ(end(), record("stdout", 'P', "tw"));
    EXPECT_EQ(end(), "");
}

TEST_F(LogRecordsTest, ALineOfTheLimitIsWhole) {
    const std::string line(LogRecords::kLineMax, 'x');
    EXPECT_EQ(add(line), "");
    EXPECT_EQ(add("\n"), record("stdout", 'F', line));
    EXPECT_EQ(add(line + "\n"), record("stdout", 'F', line));
}

TEST_F(LogRecordsTest, ALineOfOneByteMoreIsSplit) {
    const std::string line(LogRecords::kLineMax, 'x');
    EXPECT_EQ(add(line + "y"), record("stdout", 'P', line));
    EXPECT_EQ(add("\n"), record("stdout", 'F', "y"));
    EXPECT_EQ(add(line + "y\n"), record("stdout", 'P', line) + record("stdout", 'F', "y"));
}

TEST_F(LogRecordsTest, AHugeLineBecomesManyRecordsHoweverItComes) {
    const std::string piece(LogRecords::kLineMax, 'x');
    const std::string line = piece + piece + piece + "end";
    const std::string expected = record("stdout", 'P', piece) + record("stdout", 'P', piece) +
                                 record("stdout", 'P', piece) + record("stdout", 'F', "end");
    EXPECT_EQ(add(line + "\n"), expected);
    std::string in_pieces;
    for (std::size_t at = 0; at < line.size(); at += 1000) {
        in_pieces += add(std::string_view(line).substr(at, 1000));
    }
    EXPECT_EQ(in_pieces + add("\n"), expected);
}

// The records' times, which no test can know, become T.
std::string without_times(const std::string& records) {
    constexpr std::size_t size = 30;
    std::istringstream lines(records);
    std::string text;
    for (std::string line; std::getline(lines, line);) {
        EXPECT_EQ(line.substr(0, 2), "20");
        EXPECT_EQ(line.at(size - 1), 'Z');
        text += "T" + line.substr(size) + "\n";
    }
    return text;
}

class ContainerLogTest : public testing::Test {
protected:
    void SetUp() override { ASSERT_NE(::mkdtemp(scratch_.data()), nullptr); }
    void TearDown() override {
        std::error_code ignored;
        std::filesystem::remove_all(scratch_, ignored);
    }

    std::unique_ptr<ContainerLog> open(ContainerLog::Limits limits = {}) {
        return *ContainerLog::open(*loop_, path_, limits);
    }
    static std::string content(const std::string& path) {
        std::ifstream file(path);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void until(const std::function<bool()>& claim) {
        const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
        while (!claim() && std::chrono::steady_clock::now() < deadline) {
            ASSERT_TRUE(loop_->run_once(milliseconds(10)).has_value());
        }
        ASSERT_TRUE(claim());
    }

    std::string scratch_ = "/tmp/pepita-log-XXXXXX";
    std::string path_;
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
};

class ContainerLogFileTest : public ContainerLogTest {
protected:
    void SetUp() override {
        ContainerLogTest::SetUp();
        path_ = scratch_ + "/0.log";
    }
};

TEST_F(ContainerLogFileTest, BothStreamsAreInOneFileThatIsNotTheWorlds) {
    ::umask(0);
    const auto log = open();
    log->write(LogStream::Stdout, "one\nhal");
    log->write(LogStream::Stderr, "oh\n");
    log->write(LogStream::Stdout, "f\n");
    log->write(LogStream::Stderr, "end");
    log->end(LogStream::Stdout);
    log->end(LogStream::Stderr);
    EXPECT_FALSE(log->is_full());
    EXPECT_EQ(without_times(content(path_)),
              "T stdout F one\nT stderr F oh\nT stdout F half\nT stderr P end\n");
    struct stat about{};
    ASSERT_EQ(::stat(path_.c_str(), &about), 0);
    EXPECT_EQ(about.st_mode & 07777U, 0640U);
}

TEST_F(ContainerLogFileTest, AFileThatIsThereIsAddedTo) {
    std::ofstream(path_) << "before\n";
    open()->write(LogStream::Stdout, "one\n");
    EXPECT_TRUE(content(path_).starts_with("before\n20"));
}

TEST_F(ContainerLogFileTest, WhatIsNoFileOfThisDirectoryIsRefused) {
    std::filesystem::create_symlink("/dev/null", path_);
    EXPECT_EQ(ContainerLog::open(*loop_, path_).error().sys_errno(), ELOOP);
    std::filesystem::remove(path_);
    ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
    const auto fifo = open_file(path_.c_str(), O_RDWR);
    EXPECT_EQ(ContainerLog::open(*loop_, path_).error().message(),
              "the log '" + path_ + "' is no regular file");
    const std::string nowhere = scratch_ + "/missing/0.log";
    EXPECT_EQ(ContainerLog::open(*loop_, nowhere).error().message(),
              "open the log '" + nowhere + "': No such file or directory (ENOENT)");
}

TEST_F(ContainerLogFileTest, AReopenedLogGoesOnInANewFile) {
    const auto log = open();
    log->write(LogStream::Stdout, "one\ntw");
    std::filesystem::rename(path_, path_ + ".old");
    log->write(LogStream::Stderr, "still\n");
    ASSERT_TRUE(log->reopen().has_value());
    EXPECT_EQ(content(path_), "");
    log->write(LogStream::Stdout, "o\n");
    EXPECT_EQ(without_times(content(path_ + ".old")), "T stdout F one\nT stderr F still\n");
    EXPECT_EQ(without_times(content(path_)), "T stdout F two\n");
}

TEST_F(ContainerLogFileTest, ALogThatCannotBeReopenedStaysWhereItIs) {
    const auto log = open();
    std::filesystem::rename(scratch_, scratch_ + ".old");
    EXPECT_EQ(log->reopen().error().sys_errno(), ENOENT);
    log->write(LogStream::Stdout, "one\n");
    EXPECT_EQ(without_times(content(scratch_ + ".old/0.log")), "T stdout F one\n");
    std::filesystem::rename(scratch_ + ".old", scratch_);
}

// A file system that can be full.
class FullContainerLogTest : public ContainerLogTest {
protected:
    void SetUp() override {
        ContainerLogTest::SetUp();
        disk_ = test::small_tmpfs(64_KiB);
        if (!disk_) {
            GTEST_SKIP() << "needs root to make a file system";
        }
        directory_ = "/proc/self/fd/" + std::to_string(disk_.ref().number());
        path_ = directory_ + "/0.log";
        filler_ = directory_ + "/filler";
    }
    // All but a page, which the log begins in.
    void fill() {
        const Fd file(::open(filler_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
        const std::string page(4096, 'f');
        while (::write(file.ref().number(), page.data(), page.size()) > 0) {}
    }
    void make_room() { std::filesystem::remove(filler_); }
    std::string log_content() { return without_times(content(path_)); }

    Fd disk_;
    std::string directory_;
    std::string filler_;
    // 3000 bytes: the second is torn by the end of the page.
    const std::string first_ = std::string(2999, 'a') + "\n";
    const std::string second_ = std::string(2999, 'b') + "\n";
    const std::string both_ = "T stdout F " + first_ + "T stdout F " + second_;
};

TEST_F(FullContainerLogTest, ALogWithoutRoomHoldsItsOwnerBackAndLosesNothing) {
    const auto log = open({.patience = std::chrono::minutes(1), .retry_interval = milliseconds(1)});
    log->write(LogStream::Stdout, first_);
    fill();
    bool is_ready = false;
    log->set_on_ready([&] { is_ready = true; });
    log->write(LogStream::Stdout, second_);
    EXPECT_TRUE(log->is_full());
    log->write(LogStream::Stderr, "oh\n");
    make_room();
    until([&] { return is_ready; });
    EXPECT_FALSE(log->is_full());
    EXPECT_EQ(log_content(), both_ + "T stderr F oh\n");
}

TEST_F(FullContainerLogTest, AfterItsPatienceItDropsAndTellsHowMuch) {
    const auto log = open({.patience = milliseconds(0), .retry_interval = milliseconds(1)});
    log->write(LogStream::Stdout, first_);
    fill();
    log->write(LogStream::Stdout, second_ + "lost\n");
    EXPECT_FALSE(log->is_full());
    log->write(LogStream::Stderr, "lost\n");
    make_room();
    log->write(LogStream::Stdout, "again\n");
    EXPECT_EQ(log_content(), both_ +
                                 "T stdout F again\n"
                                 "T stderr F pepita-shim: 2 records of output are lost: "
                                 "write: No space left on device (ENOSPC)\n");
}

TEST_F(FullContainerLogTest, ItsPatienceEndsThoughNobodyWrites) {
    const auto log = open({.patience = milliseconds(5), .retry_interval = milliseconds(1)});
    log->write(LogStream::Stdout, first_);
    fill();
    bool is_ready = false;
    log->set_on_ready([&] { is_ready = true; });
    log->write(LogStream::Stdout, second_);
    until([&] { return is_ready; });
    EXPECT_FALSE(log->is_full());
}

TEST_F(FullContainerLogTest, ARecordThatTheOldFileHasAPartOfIsWholeInTheNew) {
    const auto log = open({.patience = std::chrono::minutes(1), .retry_interval = milliseconds(1)});
    log->write(LogStream::Stdout, first_);
    fill();
    log->write(LogStream::Stdout, second_);
    EXPECT_TRUE(log->is_full());
    std::filesystem::rename(path_, path_ + ".old");
    make_room();
    ASSERT_TRUE(log->reopen().has_value());
    EXPECT_FALSE(log->is_full());
    EXPECT_EQ(log_content(), "T stdout F " + second_);
}

}  // namespace
}  // namespace pepita::shim
