#include "storage/zram/memory_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/page_allocator.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/layout.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {
namespace {

// Since Linux 5.14; Debian 12's headers have it.
static_assert(MADV_POPULATE_WRITE == 23);

// The superblock's page, and a frame for packing another one anew.
constexpr std::uint64_t kBaseUse = kPageSize.value() + kFrameBytes;

Result<Bytes> size_of(FdRef file) {
    struct stat status{};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    if (!S_ISREG(status.st_mode)) {
        return Error(Code::InvalidArgument, "the memory file is no regular file");
    }
    return Bytes(static_cast<std::uint64_t>(status.st_size));
}

}  // namespace

// A frame that is partly written is charged for its pages only, so there are more frames than
// `limit` would fill: a table or an object frame has at least one page.
std::uint32_t MemoryFile::frames_for(Bytes limit) {
    return static_cast<std::uint32_t>(limit.value() / (kFrameBytes / 2) + 64);
}

MemoryFile::MemoryFile(Fd file, Mapping mapping, Bytes limit, std::uint32_t frames)
    : file_(std::move(file)),
      mapping_(std::move(mapping)),
      limit_(limit),
      frames_(frames),
      free_(Pages(frames)) {
    CHECK(free_.take_at(Pages(0)));
    CHECK(charge(kBaseUse + frames / 8));
}

Result<std::unique_ptr<MemoryFile>> MemoryFile::create(Fd file, Bytes limit) {
    if (limit < ZramStore::kLimitMin || limit > ZramStore::kLimitMax) {
        return Error(Code::InvalidArgument,
                     "memory limit of " + std::to_string(limit.value()) + " B: 1 MiB to 1 TiB");
    }
    if (TRY(size_of(file.ref())).value() != 0) {
        return Error(Code::InvalidArgument, "the memory file is not empty");
    }
    const std::uint32_t frames = frames_for(limit);
    const Bytes size(frames * kFrameBytes);
    if (::ftruncate(file.ref().number(), static_cast<off_t>(size.value())) != 0) {
        return Error::from_errno(errno, "ftruncate the memory file");
    }
    Mapping mapping = TRY(Mapping::shared(file.ref(), size));
    std::unique_ptr<MemoryFile> memory(
        new MemoryFile(std::move(file), std::move(mapping), limit, frames));
    if (!memory->reserve(0, 0, sizeof(Superblock))) {
        return Error(Code::ResourceExhausted, "the memory file's file system is full");
    }
    auto& superblock = memory->at<Superblock>(0);
    superblock.version = kFormatVersion;
    superblock.frame_bytes = kFrameBytes;
    superblock.frames = frames;
    superblock.limit = limit.value();
    publish(superblock.kind, FrameKind::Superblock);
    return memory;
}

Result<std::unique_ptr<MemoryFile>> MemoryFile::open(Fd file) {
    const Bytes size = TRY(size_of(file.ref()));
    Superblock superblock{};
    if (::pread(file.ref().number(), &superblock, sizeof(superblock), 0) != sizeof(superblock) ||
        superblock.kind != FrameKind::Superblock) {
        return Error(Code::DataLoss, "the memory file is no store");
    }
    if (superblock.version != kFormatVersion || superblock.frame_bytes != kFrameBytes) {
        return Error(Code::DataLoss, "the memory file is of another version of the store");
    }
    const Bytes limit(superblock.limit);
    if (limit < ZramStore::kLimitMin || limit > ZramStore::kLimitMax ||
        superblock.frames != frames_for(limit) || size.value() != superblock.frames * kFrameBytes) {
        return Error(Code::DataLoss, "the memory file's sizes contradict each other");
    }
    Mapping mapping = TRY(Mapping::shared(file.ref(), size));
    return std::unique_ptr<MemoryFile>(
        new MemoryFile(std::move(file), std::move(mapping), limit, frames_for(limit)));
}

bool MemoryFile::charge(std::uint64_t bytes) {
    std::uint64_t used = used_.load(std::memory_order_relaxed);
    do {
        if (bytes > limit_.value() - used) {
            return false;
        }
    } while (!used_.compare_exchange_weak(used, used + bytes, std::memory_order_relaxed));
    return true;
}

std::optional<std::uint32_t> MemoryFile::take() {
    const std::scoped_lock lock(mutex_);
    const std::optional<Pages> frame = free_.take();
    return frame ? std::optional(static_cast<std::uint32_t>(frame->value())) : std::nullopt;
}

bool MemoryFile::take_at(std::uint32_t frame) {
    const std::scoped_lock lock(mutex_);
    return free_.take_at(Pages(frame));
}

void MemoryFile::give(std::uint32_t frame) {
    release(frame, 0, kFrameBytes);
    const std::scoped_lock lock(mutex_);
    free_.give(Pages(frame));
}

bool MemoryFile::reserve(std::uint32_t number, std::size_t begin, std::size_t end) {
    const std::size_t page = kPageSize.value();
    const std::size_t first = begin / page * page;
    const std::size_t last = (end + page - 1) / page * page;
    if (first >= last) {
        return true;
    }
    int done = 0;
    do {
        // Not fallocate(2): this takes no lock of the file's that would make writers wait for each
        // other, and spares them the page faults.
        done = ::madvise(frame(number) + first, last - first, MADV_POPULATE_WRITE);
    } while (done != 0 && errno == EINTR);
    return done == 0;
}

std::optional<std::uint32_t> MemoryFile::take_for_packing() {
    return spare_ ? std::exchange(spare_, std::nullopt) : take();
}

void MemoryFile::keep_for_packing(std::uint32_t frame) {
    CHECK(!spare_);
    spare_ = frame;
}

void MemoryFile::give_kept() {
    if (const std::optional<std::uint32_t> frame = std::exchange(spare_, std::nullopt)) {
        give(*frame);
    }
}

void MemoryFile::release(std::uint32_t number, std::size_t begin, std::size_t end) {
    const std::size_t page = kPageSize.value();
    const std::size_t first = (begin + page - 1) / page * page;
    const std::size_t last = end / page * page;
    if (first < last) {
        // A hole in the file: the memory goes, and zeros are read. Fails only for a file that is
        // not in memory.
        CHECK(::madvise(frame(number) + first, last - first, MADV_REMOVE) == 0);
    }
}

bool MemoryFile::Written::has(std::size_t begin, std::size_t end) const {
    const std::size_t page = kPageSize.value();
    for (std::size_t i = begin / page; i * page < end; ++i) {
        if ((pages & (1U << i)) == 0) {
            return false;
        }
    }
    return true;
}

Result<std::vector<MemoryFile::Written>> MemoryFile::written_frames() const {
    return written_between(0, frames_ * kFrameBytes);
}

Result<MemoryFile::Written> MemoryFile::written_in(std::uint32_t number) const {
    const std::uint64_t begin = number * kFrameBytes;
    const std::vector<Written> found = TRY(written_between(begin, begin + kFrameBytes));
    return found.empty() ? Written{.frame = number, .pages = 0} : found.front();
}

Result<std::vector<MemoryFile::Written>> MemoryFile::written_between(std::uint64_t begin,
                                                                     std::uint64_t end) const {
    std::vector<Written> frames;
    std::uint64_t at = begin;
    while (at < end) {
        const off_t data = ::lseek(file_.ref().number(), static_cast<off_t>(at), SEEK_DATA);
        if (data < 0 && errno == ENXIO) {  // holes up to the end
            break;
        }
        const off_t hole = data < 0 ? -1 : ::lseek(file_.ref().number(), data, SEEK_HOLE);
        if (hole < 0) {
            return Error::from_errno(errno, "lseek the memory file");
        }
        const std::uint64_t stop = std::min(end, static_cast<std::uint64_t>(hole));
        for (at = static_cast<std::uint64_t>(data); at < stop; at += kPageSize.value()) {
            const auto number = static_cast<std::uint32_t>(at / kFrameBytes);
            if (frames.empty() || frames.back().frame != number) {
                frames.push_back({.frame = number, .pages = 0});
            }
            frames.back().pages |=
                static_cast<std::uint16_t>(1U << (at % kFrameBytes / kPageSize.value()));
        }
    }
    return frames;
}

}  // namespace pepita::storage::zram
