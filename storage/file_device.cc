#include "storage/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/vfs.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/memory.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/file/alignment.h"
#include "storage/segment_cursor.h"

namespace pepita::storage {
namespace {

Result<Bytes> size_of(FdRef file) {
    struct stat status{};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    if (S_ISREG(status.st_mode)) {
        return Bytes(static_cast<std::uint64_t>(status.st_size));
    }
    if (!S_ISBLK(status.st_mode)) {
        return Error(Code::InvalidArgument, "neither a regular file nor a block device");
    }
    std::uint64_t size = 0;
    if (::ioctl(file.number(), BLKGETSIZE64, &size) != 0) {
        return Error::from_errno(errno, "BLKGETSIZE64");
    }
    return Bytes(size);
}

Result<void> check_flags(FdRef file, Access access) {
    const int flags = ::fcntl(file.number(), F_GETFL);
    if (flags < 0) {
        return Error::from_errno(errno, "F_GETFL");
    }
    if ((flags & O_PATH) != 0 || (flags & O_ACCMODE) == O_WRONLY) {
        return Error(Code::PermissionDenied, "file was not opened for reading");
    }
    if (access == Access::ReadWrite && (flags & O_ACCMODE) != O_RDWR) {
        return Error(Code::PermissionDenied, "file was not opened for writing");
    }
    if ((flags & O_APPEND) != 0) {  // pwrite(2): it would ignore our offsets
        return Error(Code::InvalidArgument, "file was opened for appending");
    }
    return {};
}

// What is moved through memory of ours: so much at once, and so many requests.
constexpr std::size_t kBounceBytes = 128U << 10U;
constexpr std::size_t kBounces = 16;
// Zeros that are written where the file system has no better way: this memory, which nobody writes
// and which costs nothing therefore, several times in one operation.
constexpr std::size_t kZeroBytes = 64U << 10U;
constexpr std::size_t kZeroTimes = 16;

// What is moved at once in a file in memory; for more, a worker thread is worth being woken.
constexpr std::uint64_t kAtOnceMax = 128U << 10U;

bool is_in_memory(FdRef file) {
    struct statfs about{};
    return (::fcntl(file.number(), F_GETFL) & O_DIRECT) == 0 &&
           ::fstatfs(file.number(), &about) == 0 && about.f_type == TMPFS_MAGIC;
}

IoStatus status_of(std::int32_t error) {
    switch (error) {
        case 0:
            return IoStatus::Ok;
        case -ENOSPC:
            return IoStatus::NoSpace;
        case -EOPNOTSUPP:
            return IoStatus::Unsupported;
        default:
            return IoStatus::Failed;
    }
}

}  // namespace

Result<Sectors> FileDevice::check(FdRef file, Access access) {
    TRY(check_flags(file, access));
    const Bytes size = TRY(size_of(file));
    if (size.value() == 0 || size.value() % kSectorSize.value() != 0) {
        return Error(Code::InvalidArgument, std::to_string(size.value()) +
                                                " bytes are no whole number of 512-byte sectors");
    }
    return Sectors(size.value() / kSectorSize.value());
}

Result<std::unique_ptr<FileDevice>> FileDevice::create(Fd file, Access access, FileRing& ring) {
    const Sectors capacity = TRY(check(file.ref(), access));
    Memory memory = TRY(make_memory(file.ref()));
    const Parts parts{
        .access = access, .capacity = capacity, .is_in_memory = is_in_memory(file.ref())};
    return std::unique_ptr<FileDevice>(
        new FileDevice(std::move(file), parts, ring, std::move(memory)));
}

Result<std::unique_ptr<FileDevice>> FileDevice::create(Fd file, Access access, EventLoop& loop) {
    std::unique_ptr<FileRing> ring = TRY(FileRing::create(loop));
    std::unique_ptr<FileDevice> device = TRY(create(std::move(file), access, *ring));
    device->own_ring_ = std::move(ring);
    return device;
}

Result<FileDevice::Memory> FileDevice::make_memory(FdRef file) {
    Memory memory;
    memory.zeros = TRY(PageBuffer::create({.size = Bytes(kZeroBytes)}));
    if ((::fcntl(file.number(), F_GETFL) & O_DIRECT) == 0) {
        return memory;
    }
    memory.alignment = TRY(file::direct_alignment(file), "O_DIRECT");
    if (memory.alignment.offset > kSectorSize.value()) {
        return Error(Code::Unsupported, "direct I/O of this file is in blocks of " +
                                            std::to_string(memory.alignment.offset) +
                                            " B, a disk's in sectors of 512");
    }
    if (memory.alignment.memory > kPageSize.value()) {
        return Error(Code::Unsupported, "direct I/O of this file wants memory aligned to " +
                                            std::to_string(memory.alignment.memory) + " B");
    }
    memory.bounce = TRY(PageBuffer::create({.size = Bytes(kBounces * kBounceBytes)}));
    return memory;
}

FileDevice::FileDevice(Fd file, const Parts& parts, FileRing& ring, Memory memory)
    : file_(std::move(file)),
      access_(parts.access),
      capacity_(parts.capacity),
      is_in_memory_(parts.is_in_memory),
      memory_(std::move(memory)),
      zeros_(kZeroTimes, {.iov_base = memory_.zeros.bytes().data(), .iov_len = kZeroBytes}),
      slots_(kDepth),
      ring_(ring),
      user_(ring.add(*this)) {
    for (std::size_t at = 0; at < memory_.bounce.bytes().size(); at += kBounceBytes) {
        free_bounces_.push_back(memory_.bounce.bytes().subspan(at, kBounceBytes));
    }
    for (std::uint32_t i = kDepth; i > 0; --i) {
        free_.push_back(i - 1);
    }
}

FileDevice::~FileDevice() { ring_.remove(user_); }

Result<void> FileDevice::refresh() {
    capacity_ = TRY(check(file_.ref(), access_));
    return {};
}

FileDevice::Slot& FileDevice::take_slot(Kind kind, std::uint64_t tag) {
    CHECK(!free_.empty());  // depth() is the caller's to keep
    Slot& slot = slots_[free_.back()];
    free_.pop_back();
    slot.kind = kind;
    slot.tag = tag;
    slot.pieces.clear();
    slot.first_piece = 0;
    slot.offset = 0;
    slot.left = 0;
    slot.rest = 0;
    slot.is_bounced = false;
    return slot;
}

void FileDevice::read(Sectors first, std::span<const Segment> into, std::uint64_t tag) {
    move_bytes(Kind::Read, first, into, tag);
}

void FileDevice::write(Sectors first, std::span<const Segment> from, std::uint64_t tag) {
    move_bytes(access_ == Access::ReadOnly ? Kind::Refusal : Kind::Write, first, from, tag);
}

void FileDevice::flush(std::uint64_t tag) { queue(take_slot(Kind::Flush, tag)); }

// A hole reads as zeros, in a file and of a block device.
void FileDevice::discard(Sectors first, Sectors count, std::uint64_t tag) {
    clear(Kind::Discard, first, count, tag);
}
void FileDevice::write_zeroes(Sectors first, Sectors count, std::uint64_t tag) {
    clear(Kind::WriteZeroes, first, count, tag);
}

void FileDevice::clear(Kind kind, Sectors first, Sectors count, std::uint64_t tag) {
    const bool is_possible = access_ == Access::ReadWrite && is_within(capacity_, first, count);
    Slot& slot = take_slot(is_possible ? kind : Kind::Refusal, tag);
    if (is_possible) {
        slot.offset = to_bytes(first).value();
        slot.left = to_bytes(count).value();
    }
    if (slot.kind == Kind::WriteZeroes) {
        write_zeros(slot);
    } else {
        queue(slot);
    }
}

/// As the file does it, as far as we know by now.
void FileDevice::write_zeros(Slot& slot) {
    slot.zeroing = zeroing_;
    if (zeroing_ == Zeroing::Bytes) {
        next_zeros(slot);
    } else {
        queue(slot);
    }
}

void FileDevice::move_bytes(Kind kind, Sectors first, std::span<const Segment> segments,
                            std::uint64_t tag) {
    const bool fits = segments.size() <= IOV_MAX && is_within(capacity_, first, segments);
    Slot& slot = take_slot(fits ? kind : Kind::Refusal, tag);
    if (slot.kind == Kind::Refusal) {
        queue(slot);
        return;
    }
    slot.offset = to_bytes(first).value();
    slot.is_bounced = !file::is_aligned(segments, memory_.alignment);
    for (const Segment segment : segments) {
        slot.left += segment.size();
        if (!segment.empty() && !slot.is_bounced) {
            slot.pieces.push_back({.iov_base = segment.data(), .iov_len = segment.size()});
        }
    }
    if (slot.is_bounced) {
        slot.rest = std::exchange(slot.left, 0);
        slot.segments.assign(segments.begin(), segments.end());
        slot.cursor = SegmentCursor(slot.segments);
        next_bounce(slot);
        return;
    }
    queue(slot);
}

void FileDevice::queue(const Slot& slot) {
    const auto index = static_cast<std::uint32_t>(&slot - slots_.data());
    if (!is_in_memory_ || !do_at_once(slot, index)) {
        ring_.queue(user_, index);
    }
}

void FileDevice::put(IoRing& ring, std::uint32_t index, std::uint64_t tag) {
    const Slot& slot = slots_[index];
    const std::span<const iovec> pieces = std::span(slot.pieces).subspan(slot.first_piece);
    bool is_queued = false;
    switch (slot.kind) {
        case Kind::Read:
            is_queued = ring.readv(file_.ref(), pieces, slot.offset, tag);
            break;
        case Kind::Write:
            is_queued = ring.writev(file_.ref(), pieces, slot.offset, tag);
            break;
        case Kind::Flush:
            is_queued = ring.fdatasync(file_.ref(), tag);
            break;
        case Kind::Discard:
        case Kind::WriteZeroes:
            is_queued = put_clear(ring, slot, tag);
            break;
        case Kind::Refusal:  // through the ring as well, so that no completion comes from a request
            is_queued = ring.nop(tag);
            break;
    }
    CHECK(is_queued);  // the FileRing knows that there is room
}

/// False for what a worker thread is to do.
bool FileDevice::do_at_once(const Slot& slot, std::uint32_t index) {
    ssize_t moved = 0;  // a flush has nothing to do: Linux mm/shmem.c, noop_fsync
    if (slot.kind == Kind::Read || slot.kind == Kind::Write) {
        if (slot.left > kAtOnceMax) {
            return false;
        }
        const std::span<const iovec> pieces = std::span(slot.pieces).subspan(slot.first_piece);
        const auto count = static_cast<int>(pieces.size());
        const auto offset = static_cast<off_t>(slot.offset);
        moved = slot.kind == Kind::Read
                    ? ::preadv(file_.ref().number(), pieces.data(), count, offset)
                    : ::pwritev(file_.ref().number(), pieces.data(), count, offset);
    } else if (slot.kind != Kind::Flush) {
        return false;
    }
    done_at_once_.push_back(
        {.slot = index, .result = moved < 0 ? -errno : static_cast<std::int32_t>(moved)});
    return true;
}

bool FileDevice::put_clear(IoRing& ring, const Slot& slot, std::uint64_t tag) const {
    const bool is_punched = slot.kind == Kind::Discard || slot.zeroing == Zeroing::PunchHole;
    const int mode = is_punched ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE;
    return ring.fallocate(file_.ref(), mode | FALLOC_FL_KEEP_SIZE, slot.offset, slot.left, tag);
}

/// Zeros from `offset` on, as a write like any other.
void FileDevice::next_zeros(Slot& slot) {
    const std::uint64_t all = slot.left + slot.rest;
    slot.kind = Kind::Write;
    slot.left = std::min<std::uint64_t>(all, kZeroTimes * kZeroBytes);
    slot.rest = all - slot.left;
    slot.pieces.assign(
        zeros_.begin(),
        zeros_.begin() + static_cast<std::ptrdiff_t>((slot.left + kZeroBytes - 1) / kZeroBytes));
    slot.pieces.back().iov_len = slot.left - (slot.pieces.size() - 1) * kZeroBytes;
    slot.first_piece = 0;
    queue(slot);
}

/// The next piece of a request whose memory is not aligned, once there is memory for it.
void FileDevice::next_bounce(Slot& slot) {
    if (slot.bounce.empty()) {
        if (free_bounces_.empty()) {
            bounce_waiters_.push_back(static_cast<std::uint32_t>(&slot - slots_.data()));
            return;
        }
        slot.bounce = free_bounces_.back();
        free_bounces_.pop_back();
    }
    slot.left = std::min<std::uint64_t>(slot.rest, kBounceBytes);
    slot.rest -= slot.left;
    const std::span<std::byte> piece = slot.bounce.first(slot.left);
    if (slot.kind == Kind::Write) {
        slot.cursor.copy_out(piece);
    }
    slot.pieces.assign(1, {.iov_base = piece.data(), .iov_len = piece.size()});
    slot.first_piece = 0;
    queue(slot);
}

/// Whether a request that moved all of an operation has another to make, and makes it.
bool FileDevice::goes_on(Slot& slot) {
    if (slot.is_bounced && slot.kind == Kind::Read) {
        const iovec& piece = slot.pieces.front();  // its end is the end of what was read
        const auto* const end = static_cast<const std::byte*>(piece.iov_base) + piece.iov_len;
        slot.cursor.copy_in(slot.bounce.first(static_cast<std::size_t>(end - slot.bounce.data())));
    }
    if (slot.rest == 0) {
        return false;
    }
    slot.offset += std::exchange(slot.left, 0);
    if (slot.is_bounced) {
        next_bounce(slot);
    } else {
        next_zeros(slot);
    }
    return true;
}

/// The one place where short transfers are dealt with: what is left of the request goes out again.
void FileDevice::on_operation(std::uint32_t index, std::int32_t result) {
    Slot& slot = slots_[index];
    const bool moves_bytes = slot.kind == Kind::Read || slot.kind == Kind::Write;
    if (result == -EINTR || result == -EAGAIN) {
        queue(slot);
        return;
    }
    if (result == -EOPNOTSUPP && slot.kind == Kind::WriteZeroes) {
        const bool was_punched = slot.zeroing == Zeroing::PunchHole;
        zeroing_ = std::max(zeroing_, was_punched ? Zeroing::ZeroRange : Zeroing::Bytes);
        write_zeros(slot);
        return;
    }
    std::uint64_t moved = result > 0 ? static_cast<std::uint64_t>(result) : 0;
    if (moves_bytes && moved > 0 && moved < slot.left) {
        slot.offset += moved;
        slot.left -= moved;
        while (moved >= slot.pieces[slot.first_piece].iov_len) {
            moved -= slot.pieces[slot.first_piece].iov_len;
            ++slot.first_piece;
        }
        iovec& piece = slot.pieces[slot.first_piece];
        piece.iov_base = static_cast<std::byte*>(piece.iov_base) + moved;
        piece.iov_len -= moved;
        queue(slot);
        return;
    }
    if (moves_bytes && moved == slot.left) {
        if (!goes_on(slot)) {
            finish(index, IoStatus::Ok);
        }
        return;
    }
    // Nothing moved: a file that was cut short behind our back.
    const bool fails = moves_bytes || slot.kind == Kind::Refusal;
    const std::int32_t error = fails && result >= 0 ? -EIO : result;
    finish(index, status_of(error));
}

void FileDevice::finish(std::uint32_t slot, IoStatus status) {
    done_.push_back({.tag = slots_[slot].tag, .status = status});
    free_.push_back(slot);
    if (slots_[slot].bounce.empty()) {
        return;
    }
    free_bounces_.push_back(std::exchange(slots_[slot].bounce, {}));
    if (!bounce_waiters_.empty()) {
        Slot& next = slots_[bounce_waiters_.front()];
        bounce_waiters_.pop_front();
        next_bounce(next);
    }
}

bool FileDevice::poll() {
    ring_.reap(user_);
    return tell();
}

bool FileDevice::tell() {
    for (std::size_t i = 0; i < done_at_once_.size(); ++i) {  // the rests of short transfers join
        const DoneAtOnce done = done_at_once_[i];
        on_operation(done.slot, done.result);
    }
    done_at_once_.clear();
    submit();  // their other rests
    if (done_.empty()) {
        return false;
    }
    const std::vector<IoCompletion> done = std::exchange(done_, {});
    if (listener_) {
        listener_(done);
    }
    return true;
}

void FileDevice::submit() { ring_.submit(); }

void FileDevice::drain() {
    while (!done_at_once_.empty() || !done_.empty() || ring_.under_way(user_) > 0) {
        if (done_at_once_.empty() && done_.empty()) {
            ring_.wait();
        }
        (void)poll();
    }
}

}  // namespace pepita::storage
