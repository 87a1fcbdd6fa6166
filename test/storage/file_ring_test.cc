#include "storage/file_ring.h"

#include <gtest/gtest.h>
#include <liburing.h>
#include <liburing/io_uring.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file_device.h"

namespace pepita::storage {
namespace {

/// A file that the kernel reads for us: no memory file, which a FileDevice reads by itself.
Fd disk_file(std::uint64_t size) {
    std::string name = "/var/tmp/pepita-ring-XXXXXX";
    Fd file(::mkostemp(name.data(), O_CLOEXEC));
    EXPECT_EQ(::unlink(name.c_str()), 0);
    EXPECT_EQ(::ftruncate(file.ref().number(), static_cast<off_t>(size)), 0);
    return file;
}

/// A device, and the tags that were told of.
struct Disk {
    explicit Disk(FileRing& ring)
        : device(*FileDevice::create(disk_file(1U << 20U), Access::ReadWrite, ring)) {
        device->set_listener([this](std::span<const IoCompletion> completions) {
            for (const IoCompletion& completion : completions) {
                EXPECT_EQ(completion.status, IoStatus::Ok);
                done.push_back(completion.tag);
            }
        });
    }
    void read(std::uint64_t tag) {
        const BlockDevice::Segment into(memory);
        device->read(Sectors(tag), {&into, 1}, tag);
    }

    std::array<std::byte, 512> memory{};
    std::vector<std::uint64_t> done;
    std::unique_ptr<FileDevice> device;
};

class FileRingTest : public testing::Test {
protected:
    void run_until_done(const Disk& disk, std::size_t count) {
        while (disk.done.size() < count) {
            ASSERT_TRUE(loop_->run_once(std::chrono::seconds(20)).has_value());
        }
    }

    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<FileRing> ring_ = *FileRing::create(*loop_);
};

TEST_F(FileRingTest, DevicesGetTheirOwnCompletions) {
    Disk first(*ring_);
    Disk second(*ring_);
    first.read(1);
    second.read(2);
    first.device->submit();
    run_until_done(first, 1);
    run_until_done(second, 1);
    EXPECT_EQ(first.done, std::vector<std::uint64_t>{1});
    EXPECT_EQ(second.done, std::vector<std::uint64_t>{2});
}

TEST_F(FileRingTest, MoreThanItsEntriesAreServedInTheEnd) {
    std::vector<std::unique_ptr<Disk>> disks;
    for (int i = 0; i < 3; ++i) {
        disks.push_back(std::make_unique<Disk>(*ring_));
    }
    for (const auto& disk : disks) {
        for (std::uint64_t tag = 0; tag < FileDevice::kDepth; ++tag) {
            disk->read(tag);
        }
        disk->device->submit();
    }
    for (const auto& disk : disks) {
        run_until_done(*disk, FileDevice::kDepth);
        EXPECT_EQ(std::set(disk->done.begin(), disk->done.end()).size(), FileDevice::kDepth);
    }
}

TEST_F(FileRingTest, OneDevicesDrainTellsNobodyElseAndLosesNothing) {
    Disk first(*ring_);
    Disk second(*ring_);
    second.read(2);
    second.device->submit();
    first.read(1);
    first.device->drain();
    EXPECT_EQ(first.done, std::vector<std::uint64_t>{1});
    EXPECT_EQ(second.done, std::vector<std::uint64_t>{});
    run_until_done(second, 1);
}

TEST_F(FileRingTest, ADeviceGoesWithItsRequestsAndTheOthersStay) {
    auto first = std::make_unique<Disk>(*ring_);
    Disk second(*ring_);
    for (std::uint64_t tag = 0; tag < FileDevice::kDepth; ++tag) {
        second.read(tag);
        first->read(tag);
    }
    first->device->submit();
    first.reset();
    second.device->drain();
    EXPECT_EQ(second.done.size(), FileDevice::kDepth);
}

TEST_F(FileRingTest, ADevicesPlaceIsUsedAgain) {
    const auto id = [this] {
        Disk disk(*ring_);
        disk.read(7);
        disk.device->drain();
        return disk.done;
    };
    EXPECT_EQ(id(), std::vector<std::uint64_t>{7});
    EXPECT_EQ(id(), std::vector<std::uint64_t>{7});
}

/// The result of one operation, without IoRing between us and the kernel.
int result_of(io_uring& ring, unsigned operation, std::uint8_t flags = 0) {
    io_uring_sqe* entry = ::io_uring_get_sqe(&ring);
    ::io_uring_prep_rw(static_cast<int>(operation), entry, -1, nullptr, 0, 0);
    entry->flags = flags;
    EXPECT_EQ(::io_uring_submit(&ring), 1);
    io_uring_cqe* done = nullptr;
    EXPECT_EQ(::io_uring_wait_cqe(&ring, &done), 0);
    const int result = done->res;
    ::io_uring_cqe_seen(&ring, done);
    return result;
}

TEST_F(FileRingTest, X3_TakesNoOperationButItsOwn) {
    // A ring of the same size says where the kernel put the parts of such a ring.
    io_uring twin{};
    io_uring_params layout{};
    layout.flags = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    ASSERT_EQ(::io_uring_queue_init_params(FileRing::kEntries, &twin, &layout), 0);
    io_uring raw{};
    ASSERT_EQ(::io_uring_queue_mmap(duplicate(ring_->fd())->release(), &layout, &raw), 0);

    const std::unique_ptr<io_uring_probe, decltype(&::io_uring_free_probe)> known(
        ::io_uring_get_probe_ring(&twin), ::io_uring_free_probe);
    ASSERT_NE(known, nullptr);
    std::set<unsigned> taken;
    for (unsigned operation = 0; operation <= known->last_op; ++operation) {
        if (result_of(raw, operation) != -EACCES) {
            taken.insert(operation);
        }
    }
    EXPECT_EQ(taken, (std::set<unsigned>{IORING_OP_NOP, IORING_OP_READV, IORING_OP_WRITEV,
                                         IORING_OP_FSYNC, IORING_OP_FALLOCATE}));
    EXPECT_EQ(result_of(raw, IORING_OP_READV, IOSQE_FIXED_FILE), -EACCES);
    EXPECT_EQ(result_of(raw, IORING_OP_READV, IOSQE_ASYNC), -EACCES);
    EXPECT_EQ(::io_uring_register_eventfd(&raw, 0), -EACCES);

    ::io_uring_queue_exit(&raw);
    ::io_uring_queue_exit(&twin);
}

}  // namespace
}  // namespace pepita::storage
