#include "storage/file_device.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/request_queue.h"
#include "storage/tag_set.h"

namespace pepita::storage {
namespace {

Fd memory_file(std::uint64_t size) {
    Fd file(::memfd_create("disk", MFD_CLOEXEC));
    EXPECT_EQ(::ftruncate(file.ref().number(), static_cast<off_t>(size)), 0);
    return file;
}

/// The same file, opened anew with `flags`.
Fd reopen(const Fd& file, int flags) {
    const std::string path = "/proc/self/fd/" + std::to_string(file.ref().number());
    return *open_file(path.c_str(), flags);
}

class FileDeviceTest : public testing::Test {
protected:
    static constexpr std::uint64_t kSize = 4096;

    void SetUp() override { open(Access::ReadWrite); }

    void open(Access access) {
        device_ = *FileDevice::create(*duplicate(file_.ref()), access, *loop_);
        device_->set_listener([this](std::span<const IoCompletion> done) {
            done_.insert(done_.end(), done.begin(), done.end());
        });
    }
    /// The completion that comes next, at once or through the event loop.
    IoCompletion next() {
        device_->submit();
        while (device_->poll()) {}
        const auto deadline = EventLoop::Clock::now() + std::chrono::seconds(20);
        while (done_.empty() && EventLoop::Clock::now() < deadline) {
            EXPECT_TRUE(loop_->run_once(std::chrono::seconds(1)).has_value());
        }
        EXPECT_FALSE(done_.empty()) << "nothing completed";
        const IoCompletion first = done_.empty() ? IoCompletion{} : done_.front();
        done_.erase(done_.begin());
        return first;
    }
    char byte_at(off_t at) const {
        char byte = 0;
        EXPECT_EQ(::pread(file_.ref().number(), &byte, 1, at), 1);
        return byte;
    }
    off_t file_size() const { return ::lseek(file_.ref().number(), 0, SEEK_END); }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    Fd file_ = memory_file(kSize);
    std::unique_ptr<FileDevice> device_;
    std::vector<IoCompletion> done_;
    std::array<std::byte, 1024> a_{};
    std::array<std::byte, 512> b_{};
};

/// A file in memory, and one of which the ring does all.
class AnyFileTest : public FileDeviceTest, public testing::WithParamInterface<const char*> {
protected:
    void SetUp() override {
        file_ = make_file(kSize);
        open(Access::ReadWrite);
    }
    static Fd make_file(std::uint64_t size) {
        Fd file(::open(GetParam(), O_RDWR | O_TMPFILE | O_CLOEXEC, 0600));
        EXPECT_EQ(::ftruncate(file.ref().number(), static_cast<off_t>(size)), 0);
        return file;
    }
};

TEST_P(AnyFileTest, CapacityIsTheFilesSizeInSectors) {
    EXPECT_EQ(device_->capacity(), Sectors(8));
    EXPECT_EQ(device_->access(), Access::ReadWrite);
}

TEST_P(AnyFileTest, WritesAndReadsBackOverSeveralSegments) {
    a_.fill(std::byte{'a'});
    b_.fill(std::byte{'b'});
    const std::array<BlockDevice::Segment, 2> from{a_, b_};
    device_->write(Sectors(2), from, 11);
    EXPECT_EQ(next(), (IoCompletion{.tag = 11, .status = IoStatus::Ok}));
    EXPECT_EQ(byte_at(1023), '\0');
    EXPECT_EQ(byte_at(1024), 'a');
    EXPECT_EQ(byte_at(2048), 'b');
    EXPECT_EQ(byte_at(2560), '\0');
    const std::array<BlockDevice::Segment, 1> into{b_};
    device_->read(Sectors(3), into, 12);
    EXPECT_EQ(next(), (IoCompletion{.tag = 12, .status = IoStatus::Ok}));
    EXPECT_EQ(b_[511], std::byte{'a'});
}

TEST_P(AnyFileTest, FlushCompletes) {
    device_->flush(3);
    EXPECT_EQ(next(), (IoCompletion{.tag = 3, .status = IoStatus::Ok}));
}

TEST_P(AnyFileTest, NothingCompletesWithinTheCallThatAsked) {
    const std::array<BlockDevice::Segment, 1> into{b_};
    device_->read(Sectors(0), into, 1);
    device_->read(Sectors(100), into, 2);
    device_->submit();
    EXPECT_TRUE(done_.empty());
    device_->drain();
    EXPECT_EQ(done_.size(), 2U);
}

TEST_P(AnyFileTest, RequestsBeyondTheEndFailAndTheFileDoesNotGrow) {
    const std::array<BlockDevice::Segment, 1> two{a_};
    device_->write(Sectors(7), two, 1);
    EXPECT_EQ(next(), (IoCompletion{.tag = 1, .status = IoStatus::Failed}));
    device_->write(Sectors(1ULL << 55U), two, 2);
    EXPECT_EQ(next(), (IoCompletion{.tag = 2, .status = IoStatus::Failed}));
    EXPECT_EQ(file_size(), static_cast<off_t>(kSize));
}

TEST_P(AnyFileTest, PartsOfASectorAndNothingAtAllFail) {
    const std::array<BlockDevice::Segment, 1> part{std::span(b_).first(511)};
    device_->read(Sectors(0), part, 1);
    EXPECT_EQ(next().status, IoStatus::Failed);
    device_->read(Sectors(0), {}, 2);
    EXPECT_EQ(next().status, IoStatus::Failed);
}

TEST_P(AnyFileTest, MoreSegmentsThanTheKernelTakesFail) {
    std::vector<BlockDevice::Segment> pieces(1025, std::span(b_).first(0));
    pieces[0] = b_;
    device_->read(Sectors(0), pieces, 1);
    EXPECT_EQ(next().status, IoStatus::Failed);
    pieces.pop_back();
    device_->read(Sectors(0), pieces, 2);
    EXPECT_EQ(next().status, IoStatus::Ok);
}

TEST_P(AnyFileTest, ReadOnlyDeviceRefusesToWrite) {
    open(Access::ReadOnly);  // though its descriptor could
    b_.fill(std::byte{'x'});
    const std::array<BlockDevice::Segment, 1> from{b_};
    device_->write(Sectors(0), from, 1);
    EXPECT_EQ(next(), (IoCompletion{.tag = 1, .status = IoStatus::Failed}));
    EXPECT_EQ(byte_at(0), '\0');
}

TEST_P(AnyFileTest, FileCutShortFailsWhatIsGone) {
    ASSERT_EQ(::ftruncate(file_.ref().number(), 1100), 0);
    const std::array<BlockDevice::Segment, 2> into{b_, a_};
    device_->read(Sectors(1), into, 1);  // 588 of 1536 bytes are there: short, then nothing
    EXPECT_EQ(next(), (IoCompletion{.tag = 1, .status = IoStatus::Failed}));
}

// Linux moves at most 2^31 - 4096 bytes in one call, so one byte more comes back short.
TEST_P(AnyFileTest, RestOfAShortTransferGoesOutAgain) {
    constexpr std::uint64_t piece = 32U << 20U;
    constexpr std::uint64_t whole = 1ULL << 31U;  // 64 pieces
    file_ = make_file(whole);
    ASSERT_EQ(::pwrite(file_.ref().number(), "E", 1, whole - 1), 1);
    ASSERT_EQ(::pwrite(file_.ref().number(), "B", 1, whole - 4096), 1);
    open(Access::ReadOnly);
    std::vector<std::byte> buffer(piece, std::byte{'.'});
    const std::vector<BlockDevice::Segment> into(whole / piece, buffer);  // all the same bytes
    device_->read(Sectors(0), into, 1);
    EXPECT_EQ(next(), (IoCompletion{.tag = 1, .status = IoStatus::Ok}));
    EXPECT_EQ(buffer[piece - 1], std::byte{'E'});
    EXPECT_EQ(buffer[piece - 4096], std::byte{'B'});
    EXPECT_EQ(buffer[piece - 4097], std::byte{0});
}

TEST_P(AnyFileTest, TakesAsManyRequestsAtOnceAsItSays) {
    const std::array<BlockDevice::Segment, 1> into{b_};
    for (std::uint32_t i = 0; i < device_->depth(); ++i) {
        device_->read(Sectors(i % 8), into, i);
    }
    device_->drain();
    EXPECT_EQ(done_.size(), device_->depth());
    EXPECT_EQ(done_.back().status, IoStatus::Ok);
}

// Use after free: what is in flight writes to the caller's memory until the device is gone.
TEST_P(AnyFileTest, DestructorWaitsForWhatIsInFlight) {
    auto buffer = std::make_unique<std::array<std::byte, 512>>();
    const std::array<BlockDevice::Segment, 1> into{*buffer};
    device_->read(Sectors(0), into, 1);
    device_->submit();
    device_.reset();
    buffer.reset();  // under ASan a late write would be seen
    EXPECT_TRUE(done_.empty());
}

TEST_P(AnyFileTest, DestructorLeavesNoDescriptorOpen) {
    const int before = ::dup(0);
    (void)::close(before);
    device_.reset();
    open(Access::ReadWrite);
    device_.reset();
    const int after = ::dup(0);
    (void)::close(after);
    EXPECT_LE(after, before);
}

// --- merging

TEST_P(AnyFileTest, MergedRequestsMoveTheSameBytes) {
    file_ = make_file(1U << 20U);
    open(Access::ReadWrite);
    TagSet tags = *TagSet::create({.depth = 64});
    std::vector<IoCompletion> told;
    RequestQueue queue(std::move(device_),
                       {.loop = *loop_,
                        .tags = tags.queue(0),
                        .on_complete = [&](std::span<const IoCompletion> done) {
                            told.insert(told.end(), done.begin(), done.end());
                            for (const IoCompletion& one : done) {
                                tags.queue(0).give_back(static_cast<Tag>(one.tag));
                            }
                        }});
    std::array<std::byte, 64UL * 512> written{};
    std::ranges::generate(written, [n = 0]() mutable { return static_cast<std::byte>(n++ / 100); });
    std::array<std::byte, 64UL * 512> read{};
    const auto all = [&](IoOperation operation, std::span<std::byte> memory) {
        for (std::uint64_t i = 0; i < 64; ++i) {
            const BlockDevice::Segment segment = memory.subspan(i * 512, 512);
            const std::optional<Tag> tag = tags.queue(0).take();
            ASSERT_TRUE(tag.has_value());
            queue.start(
                *tag,
                {.operation = operation, .first = Sectors(100 + i), .segments = {&segment, 1}});
        }
        queue.drain();
    };
    all(IoOperation::Write, written);
    all(IoOperation::Read, read);
    EXPECT_EQ(told.size(), 128U);
    EXPECT_TRUE(std::ranges::all_of(
        told, [](const IoCompletion& one) { return one.status == IoStatus::Ok; }));
    EXPECT_EQ(queue.statistics().merged, 126U);
    EXPECT_EQ(read, written);
}

INSTANTIATE_TEST_SUITE_P(FileSystems, AnyFileTest, testing::Values("/var/tmp", "/dev/shm"));

// io_uring has a worker thread do what a file system cannot be asked for without waiting.
TEST_F(FileDeviceTest, RefreshFollowsTheFile) {
    ASSERT_EQ(::ftruncate(file_.ref().number(), 2 * kSize), 0);
    EXPECT_EQ(device_->capacity(), Sectors(kSize / 512));
    ASSERT_TRUE(device_->refresh().has_value());
    EXPECT_EQ(device_->capacity(), Sectors(2 * kSize / 512));
    ASSERT_EQ(::ftruncate(file_.ref().number(), 100), 0);
    EXPECT_EQ(device_->refresh().error().code(), Code::InvalidArgument);
    EXPECT_EQ(device_->capacity(), Sectors(2 * kSize / 512));
}

TEST_F(FileDeviceTest, AFileInMemoryTakesNoOtherThread) {
    const auto threads = [] {
        return std::ranges::distance(std::filesystem::directory_iterator("/proc/self/task"),
                                     std::filesystem::directory_iterator());
    };
    const auto before = threads();
    const std::array<BlockDevice::Segment, 1> into{b_};
    for (std::uint32_t i = 0; i < device_->depth(); i += 2) {
        device_->read(Sectors(i % 8), into, i);
        device_->flush(i + 1);
    }
    device_->submit();
    EXPECT_TRUE(device_->poll());
    EXPECT_EQ(done_.size(), device_->depth());
    EXPECT_EQ(threads(), before);
}

TEST_F(FileDeviceTest, LargeRequestsOfAFileInMemoryAreMovedToo) {
    file_ = memory_file(1U << 20U);
    open(Access::ReadWrite);
    std::vector<std::byte> much(1U << 20U, std::byte{'m'});
    const std::array<BlockDevice::Segment, 1> all{much};
    const std::array<BlockDevice::Segment, 1> little{b_};
    device_->write(Sectors(0), all, 1);
    device_->drain();
    device_->read(Sectors(1), little, 2);
    device_->drain();
    ASSERT_EQ(done_.size(), 2U);
    EXPECT_EQ(done_[0], (IoCompletion{.tag = 1, .status = IoStatus::Ok}));
    EXPECT_EQ(b_[0], std::byte{'m'});
    EXPECT_EQ(byte_at((1 << 20) - 1), 'm');
}

// --- file systems that lack something

/// A file system of its own, mounted nowhere; nothing where this process may not.
std::optional<Fd> file_on(const char* type, const char* size) {
    const Fd context(static_cast<int>(::syscall(SYS_fsopen, type, FSOPEN_CLOEXEC)));
    if (!context) {
        return std::nullopt;
    }
    const int number = context.ref().number();
    if (size != nullptr) {
        EXPECT_EQ(::syscall(SYS_fsconfig, number, FSCONFIG_SET_STRING, "size", size, 0), 0);
    }
    EXPECT_EQ(::syscall(SYS_fsconfig, number, FSCONFIG_CMD_CREATE, nullptr, nullptr, 0), 0);
    const Fd mounted(static_cast<int>(::syscall(SYS_fsmount, number, FSMOUNT_CLOEXEC, 0)));
    if (!mounted) {
        return std::nullopt;
    }
    return Fd(::openat(mounted.ref().number(), "disk", O_CREAT | O_RDWR | O_CLOEXEC, 0600));
}

// ramfs neither punches holes nor zeroes ranges.
TEST_F(FileDeviceTest, ZerosAreWrittenWhereTheFileSystemHasNoBetterWay) {
    std::optional<Fd> file = file_on("ramfs", nullptr);
    if (!file) {
        GTEST_SKIP() << "mounting ramfs needs privileges";
    }
    constexpr std::uint64_t size = 4U << 20U;  // several writes of zeros
    file_ = *std::move(file);
    const std::vector<char> ones(size, '1');
    ASSERT_EQ(::pwrite(file_.ref().number(), ones.data(), size, 0), static_cast<ssize_t>(size));
    open(Access::ReadWrite);
    constexpr std::uint64_t sectors = size / 512;
    device_->discard(Sectors(0), Sectors(1), 1);
    EXPECT_EQ(next().status, IoStatus::Unsupported);
    // Two at once: both find out.
    device_->write_zeroes(Sectors(1), Sectors(sectors / 2), 2);
    device_->write_zeroes(Sectors(sectors / 2 + 1), Sectors(sectors / 2 - 2), 3);
    EXPECT_EQ(next().status, IoStatus::Ok);
    EXPECT_EQ(next().status, IoStatus::Ok);
    std::vector<char> now(size);
    ASSERT_EQ(::pread(file_.ref().number(), now.data(), size, 0), static_cast<ssize_t>(size));
    std::vector<char> expected(size, '\0');
    std::fill_n(expected.begin(), 512, '1');
    std::fill_n(expected.end() - 512, 512, '1');
    EXPECT_TRUE(now == expected);
}

TEST_F(FileDeviceTest, AFullFileSystemHasNoSpace) {
    std::optional<Fd> file = file_on("tmpfs", "64k");
    if (!file) {
        GTEST_SKIP() << "mounting tmpfs needs privileges";
    }
    file_ = *std::move(file);
    ASSERT_EQ(::ftruncate(file_.ref().number(), 1 << 20), 0);
    open(Access::ReadWrite);
    std::vector<std::byte> data(64U << 10U, std::byte{'x'});
    const std::array<BlockDevice::Segment, 1> from{data};
    device_->write(Sectors(0), from, 1);
    EXPECT_EQ(next().status, IoStatus::Ok);
    device_->write(Sectors(512), from, 2);
    EXPECT_EQ(next().status, IoStatus::NoSpace);
    device_->write_zeroes(Sectors(0), Sectors(128), 3);  // holes, which make room
    EXPECT_EQ(next().status, IoStatus::Ok);
    device_->write(Sectors(512), from, 4);
    EXPECT_EQ(next().status, IoStatus::Ok);
}

// --- past the page cache

class DirectFileTest : public FileDeviceTest, public testing::WithParamInterface<const char*> {
protected:
    static constexpr std::uint64_t kBytes = 2U << 20U;

    void SetUp() override {
        file_ = Fd(::open(GetParam(), O_RDWR | O_TMPFILE | O_DIRECT | O_CLOEXEC, 0600));
        if (!file_) {
            GTEST_SKIP() << GetParam() << " has no file for direct I/O";
        }
        ASSERT_EQ(::ftruncate(file_.ref().number(), kBytes), 0);
        auto device = FileDevice::create(*duplicate(file_.ref()), Access::ReadWrite, *loop_);
        if (!device && device.error().code() == Code::Unsupported) {
            GTEST_SKIP() << GetParam() << ": " << device.error().message();
        }
        ASSERT_TRUE(device.has_value()) << device.error().message();
        open(Access::ReadWrite);
    }
    std::span<std::byte> fill(std::span<std::byte> memory, unsigned seed) {
        std::mt19937 random(seed);
        std::ranges::generate(memory, [&] { return static_cast<std::byte>(random()); });
        return memory;
    }
};

TEST_P(DirectFileTest, AlignedMemoryIsMovedAsItLies) {
    const PageBuffer memory = *PageBuffer::create({.size = Bytes(16384)});
    const std::array<BlockDevice::Segment, 1> from{fill(memory.bytes().first(8192), 1)};
    const std::array<BlockDevice::Segment, 1> into{memory.bytes().subspan(8192)};
    device_->write(Sectors(8), from, 1);
    EXPECT_EQ(next().status, IoStatus::Ok);
    device_->read(Sectors(8), into, 2);
    EXPECT_EQ(next().status, IoStatus::Ok);
    EXPECT_TRUE(std::ranges::equal(from[0], into[0]));
}

// A guest's memory lies as the guest likes: odd places, odd lengths, more than one piece of ours.
TEST_P(DirectFileTest, MemoryThatIsNotAlignedIsMovedThroughOurs) {
    constexpr std::size_t length = 600U << 10U;
    std::vector<std::byte> out(length + 64);
    std::vector<std::byte> in(length + 64);
    const std::span<std::byte> data = fill(std::span(out).subspan(1, length), 2);
    const std::array<BlockDevice::Segment, 3> from{data.first(700), data.subspan(700, 100'000),
                                                   data.subspan(100'700)};
    const std::span<std::byte> back = std::span(in).subspan(3, length);
    const std::array<BlockDevice::Segment, 2> into{back.first(300'001), back.subspan(300'001)};
    device_->write(Sectors(3), from, 1);
    EXPECT_EQ(next().status, IoStatus::Ok);
    device_->read(Sectors(3), into, 2);
    EXPECT_EQ(next().status, IoStatus::Ok);
    EXPECT_TRUE(std::ranges::equal(data, back));
    EXPECT_EQ(in[2], std::byte{0});
    EXPECT_EQ(in[3 + length], std::byte{0});
}

TEST_P(DirectFileTest, AsManyAsItTakesAtOnceWaitForOurMemory) {
    std::vector<std::byte> memory(256 * 1024 + 1);
    const std::span<std::byte> data = fill(std::span(memory).subspan(1), 3);
    for (std::uint32_t i = 0; i < FileDevice::kDepth; ++i) {
        const std::array<BlockDevice::Segment, 1> from{data.subspan(i * 1024UL, 1024)};
        device_->write(Sectors(2UL * i), from, i);
    }
    device_->drain();
    ASSERT_EQ(done_.size(), FileDevice::kDepth);
    EXPECT_TRUE(std::ranges::all_of(
        done_, [](const IoCompletion& one) { return one.status == IoStatus::Ok; }));
    std::vector<std::byte> back(256 * 1024 + 1);
    const std::array<BlockDevice::Segment, 1> into{std::span(back).subspan(1)};
    device_->read(Sectors(0), into, 1);
    device_->drain();
    EXPECT_TRUE(std::ranges::equal(data, into[0]));
}

TEST_P(DirectFileTest, ZerosAndDiscardsNeedNoMemory) {
    const PageBuffer memory = *PageBuffer::create({.size = Bytes(4096)});
    const std::array<BlockDevice::Segment, 1> all{fill(memory.bytes(), 4)};
    device_->write(Sectors(0), all, 1);
    EXPECT_EQ(next().status, IoStatus::Ok);
    device_->write_zeroes(Sectors(1), Sectors(3), 2);
    EXPECT_EQ(next().status, IoStatus::Ok);
    const std::byte kept = memory.bytes()[511];
    device_->read(Sectors(0), all, 3);
    EXPECT_EQ(next().status, IoStatus::Ok);
    EXPECT_EQ(memory.bytes()[511], kept);
    EXPECT_EQ(std::ranges::count(memory.bytes().subspan(512, 3UL * 512), std::byte{0}), 3 * 512);
}

TEST_P(DirectFileTest, DestructorWaitsForWhatGoesThroughOurMemory) {
    std::vector<std::byte> memory(1U << 20U);
    const std::array<BlockDevice::Segment, 1> into{std::span(memory).subspan(1, 512UL * 1024)};
    device_->read(Sectors(0), into, 1);
    device_->submit();
    device_.reset();
    EXPECT_TRUE(done_.empty());
}

INSTANTIATE_TEST_SUITE_P(FileSystems, DirectFileTest, testing::Values("/var/tmp", "/dev/shm"));

class FileDeviceRefuses : public testing::Test {
protected:
    Error error(Fd file, Access access) {
        return FileDevice::create(std::move(file), access, *loop_).error();
    }
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
};

TEST_F(FileDeviceRefuses, SizesThatAreNoWholeSectors) {
    EXPECT_EQ(error(memory_file(0), Access::ReadOnly).code(), Code::InvalidArgument);
    EXPECT_EQ(error(memory_file(513), Access::ReadOnly).code(), Code::InvalidArgument);
}

TEST_F(FileDeviceRefuses, WhatIsNeitherFileNorBlockDevice) {
    EXPECT_EQ(error(*open_file("/dev/null", O_RDWR), Access::ReadWrite).code(),
              Code::InvalidArgument);
    EXPECT_EQ(error(*open_file("/tmp", O_RDONLY), Access::ReadOnly).code(), Code::InvalidArgument);
}

TEST_F(FileDeviceRefuses, DescriptorsThatCannotDoWhatIsAsked) {
    const Fd file = memory_file(512);
    EXPECT_EQ(error(reopen(file, O_RDONLY), Access::ReadWrite).code(), Code::PermissionDenied);
    EXPECT_EQ(error(reopen(file, O_WRONLY), Access::ReadOnly).code(), Code::PermissionDenied);
    EXPECT_EQ(error(reopen(file, O_RDWR | O_APPEND), Access::ReadWrite).code(),
              Code::InvalidArgument);
    EXPECT_TRUE(FileDevice::create(reopen(file, O_RDONLY), Access::ReadOnly, *loop_).has_value());
}

// Image format confusion (CVE-2026-27211): the bytes of a format's header are bytes like any other.
TEST_F(FileDeviceRefuses, ToLookForFormats) {
    const Fd file = memory_file(1024);
    ASSERT_EQ(::pwrite(file.ref().number(), "QFI\xfb\0\0\0\3", 8, 0), 8);
    auto device = *FileDevice::create(*duplicate(file.ref()), Access::ReadOnly, *loop_);
    EXPECT_EQ(device->capacity(), Sectors(2));
    std::array<std::byte, 512> first{};
    const std::array<BlockDevice::Segment, 1> into{first};
    device->read(Sectors(0), into, 1);
    device->drain();
    EXPECT_EQ(first[0], std::byte{'Q'});
}

}  // namespace
}  // namespace pepita::storage
