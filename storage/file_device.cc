#include "storage/file_device.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

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
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/ring.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"

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
    if ((flags & O_DIRECT) != 0) {  // a guest's buffers are aligned as the guest likes
        return Error(Code::InvalidArgument, "file was opened with O_DIRECT");
    }
    return {};
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

Result<std::unique_ptr<FileDevice>> FileDevice::create(Fd file, Access access, EventLoop& loop) {
    const Sectors capacity = TRY(check(file.ref(), access));
    IoRing ring = TRY(IoRing::create(kDepth));
    std::unique_ptr<FileDevice> device(
        new FileDevice(std::move(file), access, capacity, std::move(ring)));
    FileDevice* self = device.get();  // the watch ends before the device does
    device->watch_ =
        TRY(loop.watch(self->ring_.fd(), EPOLLIN, [self](std::uint32_t) { (void)self->poll(); }));
    return device;
}

FileDevice::FileDevice(Fd file, Access access, Sectors capacity, IoRing ring)
    : file_(std::move(file)),
      access_(access),
      capacity_(capacity),
      slots_(kDepth),
      ring_(std::move(ring)) {
    for (std::uint32_t i = kDepth; i > 0; --i) {
        free_.push_back(i - 1);
    }
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
    return slot;
}

void FileDevice::read(Sectors first, std::span<const Segment> into, std::uint64_t tag) {
    move_bytes(Kind::Read, first, into, tag);
}

void FileDevice::write(Sectors first, std::span<const Segment> from, std::uint64_t tag) {
    move_bytes(access_ == Access::ReadOnly ? Kind::Refusal : Kind::Write, first, from, tag);
}

void FileDevice::flush(std::uint64_t tag) { queue(take_slot(Kind::Flush, tag)); }

// A hole reads as zeros, in a file and of a block device, so one operation does for both.
void FileDevice::discard(Sectors first, Sectors count, std::uint64_t tag) {
    clear(first, count, tag);
}
void FileDevice::write_zeroes(Sectors first, Sectors count, std::uint64_t tag) {
    clear(first, count, tag);
}

void FileDevice::clear(Sectors first, Sectors count, std::uint64_t tag) {
    const bool is_possible = access_ == Access::ReadWrite && is_within(capacity_, first, count);
    Slot& slot = take_slot(is_possible ? Kind::Clear : Kind::Refusal, tag);
    if (is_possible) {
        slot.offset = to_bytes(first).value();
        slot.left = to_bytes(count).value();
    }
    queue(slot);
}

void FileDevice::move_bytes(Kind kind, Sectors first, std::span<const Segment> segments,
                            std::uint64_t tag) {
    const bool fits = segments.size() <= IOV_MAX && is_within(capacity_, first, segments);
    Slot& slot = take_slot(fits ? kind : Kind::Refusal, tag);
    if (slot.kind != Kind::Refusal) {
        slot.offset = to_bytes(first).value();
        for (const Segment segment : segments) {
            slot.left += segment.size();
            if (!segment.empty()) {
                slot.pieces.push_back({.iov_base = segment.data(), .iov_len = segment.size()});
            }
        }
    }
    queue(slot);
}

void FileDevice::queue(const Slot& slot) {
    const auto index = static_cast<std::uint64_t>(&slot - slots_.data());
    const std::span<const iovec> pieces = std::span(slot.pieces).subspan(slot.first_piece);
    bool is_queued = false;
    switch (slot.kind) {
        case Kind::Read:
            is_queued = ring_.readv(file_.ref(), pieces, slot.offset, index);
            break;
        case Kind::Write:
            is_queued = ring_.writev(file_.ref(), pieces, slot.offset, index);
            break;
        case Kind::Flush:
            is_queued = ring_.fdatasync(file_.ref(), index);
            break;
        case Kind::Clear:
            is_queued = ring_.fallocate(file_.ref(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                        slot.offset, slot.left, index);
            break;
        case Kind::Refusal:  // through the ring as well, so that no completion comes from a request
            is_queued = ring_.nop(index);
            break;
    }
    CHECK(is_queued);  // the ring has an entry for every slot
}

/// The one place where short transfers are dealt with: what is left of the request goes out again.
void FileDevice::on_operation(const IoRing::Completion& operation) {
    Slot& slot = slots_[operation.tag];
    const bool moves_bytes = slot.kind == Kind::Read || slot.kind == Kind::Write;
    if (operation.result == -EINTR || operation.result == -EAGAIN) {
        queue(slot);
        return;
    }
    std::uint64_t moved = operation.result > 0 ? static_cast<std::uint64_t>(operation.result) : 0;
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
    switch (slot.kind) {
        case Kind::Read:
        case Kind::Write:  // Nothing moved: a file that was cut short behind our back.
            return finish(operation.tag, moved == slot.left            ? IoStatus::Ok
                                         : operation.result == -ENOSPC ? IoStatus::NoSpace
                                                                       : IoStatus::Failed);
        case Kind::Flush:
        case Kind::Clear:
            return finish(operation.tag, operation.result == 0             ? IoStatus::Ok
                                         : operation.result == -EOPNOTSUPP ? IoStatus::Unsupported
                                                                           : IoStatus::Failed);
        case Kind::Refusal:
            return finish(operation.tag, IoStatus::Failed);
    }
}

void FileDevice::finish(std::uint64_t slot, IoStatus status) {
    done_.push_back({.tag = slots_[slot].tag, .status = status});
    free_.push_back(static_cast<std::uint32_t>(slot));
}

bool FileDevice::poll() {
    ring_.reap([this](const IoRing::Completion& operation) { on_operation(operation); });
    submit();  // the rests of short transfers
    if (done_.empty()) {
        return false;
    }
    const std::vector<IoCompletion> done = std::exchange(done_, {});
    if (listener_) {
        listener_(done);
    }
    return true;
}

void FileDevice::submit() {
    // What can fail here beyond our own mistakes is the kernel's memory, and that we do not
    // survive.
    CHECK(ring_.submit().has_value());
}

void FileDevice::drain() {
    while (ring_.under_way() > 0) {
        CHECK(ring_.wait().has_value());
        (void)poll();
    }
}

}  // namespace pepita::storage
