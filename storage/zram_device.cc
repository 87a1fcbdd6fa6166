#include "storage/zram_device.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/segment_cursor.h"
#include "storage/zram_store.h"

namespace pepita::storage {
namespace {

constexpr std::size_t kPage = kPageSize.value();

}  // namespace

void ZramDevice::read(Sectors first, std::span<const Segment> into, std::uint64_t tag) {
    const bool is_possible = is_within(capacity(), first, into);
    finish(tag, is_possible ? read_now(to_bytes(first).value(), into) : IoStatus::Failed);
}

void ZramDevice::write(Sectors first, std::span<const Segment> from, std::uint64_t tag) {
    const bool is_possible = access_ == Access::ReadWrite && is_within(capacity(), first, from);
    finish(tag, is_possible ? write_now(to_bytes(first).value(), from) : IoStatus::Failed);
}

void ZramDevice::discard(Sectors first, Sectors count, std::uint64_t tag) {
    finish(tag, clear_now(first, count, [this](Pages page, Pages pages) {
               return volume_->discard(page, pages);
           }));
}

void ZramDevice::write_zeroes(Sectors first, Sectors count, std::uint64_t tag) {
    finish(tag, clear_now(first, count, [this](Pages page, Pages pages) {
               return volume_->write_zeroes(page, pages);
           }));
}

/// Whole pages by `on_whole`; of the pages at the two ends, only the sectors that are meant.
template <typename OnWhole>
IoStatus ZramDevice::clear_now(Sectors first, Sectors count, const OnWhole& on_whole) {
    if (access_ == Access::ReadOnly || !is_within(capacity(), first, count)) {
        return IoStatus::Failed;
    }
    static constexpr std::array<std::byte, kPage> zeros{};
    std::uint64_t at = to_bytes(first).value();
    const std::uint64_t end = at + to_bytes(count).value();
    while (at < end) {
        const std::size_t in_page = at % kPage;
        const std::uint64_t whole = in_page == 0 ? (end - at) / kPage : 0;
        const std::size_t part = std::min<std::uint64_t>(kPage - in_page, end - at);
        const IoStatus status = whole > 0 ? on_whole(Pages(at / kPage), Pages(whole))
                                          : volume_->write_part(Pages(at / kPage), in_page,
                                                                std::span(zeros).first(part));
        if (status != IoStatus::Ok) {
            return status;
        }
        at += whole > 0 ? whole * kPage : part;
    }
    return IoStatus::Ok;
}

// Through memory of our own, in both directions. The store unpacks under its locks, and a page that
// somebody lends may be long in coming; a guest can change its pages while they are compressed.

IoStatus ZramDevice::read_now(std::uint64_t offset, std::span<const Segment> into) const {
    __attribute__((uninitialized)) std::array<std::byte, kPage> page;
    std::uint64_t end = offset;
    for (const Segment segment : into) {
        end += segment.size();
    }
    SegmentCursor cursor(into);
    while (offset < end) {
        const std::size_t in_page = offset % kPage;
        const std::size_t size = std::min<std::uint64_t>(kPage - in_page, end - offset);
        const Pages index(offset / kPage);
        const std::span<std::byte> bytes = std::span(page).first(size);
        const IoStatus status =
            size == kPage ? volume_->read(index, bytes) : volume_->read_part(index, in_page, bytes);
        if (status != IoStatus::Ok) {
            return status;
        }
        cursor.copy_in(bytes);
        offset += size;
    }
    return IoStatus::Ok;
}

IoStatus ZramDevice::write_now(std::uint64_t offset, std::span<const Segment> from) {
    std::array<std::byte, kPage> page{};
    SegmentCursor cursor(from);
    while (!cursor.at_end()) {
        const std::size_t in_page = offset % kPage;
        std::size_t size = 0;
        while (in_page + size < kPage && !cursor.at_end()) {
            const std::span<std::byte> piece = cursor.take(kPage - in_page - size);
            std::ranges::copy(piece, page.begin() + static_cast<std::ptrdiff_t>(size));
            size += piece.size();
        }
        const Pages index(offset / kPage);
        const std::span<const std::byte> bytes = std::span(page).first(size);
        const IoStatus status = size == kPage ? volume_->write(index, bytes)
                                              : volume_->write_part(index, in_page, bytes);
        if (status != IoStatus::Ok) {
            return status;
        }
        offset += size;
    }
    return IoStatus::Ok;
}

void ZramDevice::finish(std::uint64_t tag, IoStatus status) {
    CHECK(done_.size() < kDepth);  // depth() is the caller's to keep
    done_.push_back({.tag = tag, .status = status});
}

bool ZramDevice::poll() {
    if (done_.empty()) {
        return false;
    }
    std::vector<IoCompletion> telling = std::exchange(done_, std::exchange(spare_, {}));
    if (listener_) {
        listener_(telling);
    }
    telling.clear();
    spare_ = std::move(telling);
    return true;
}

void ZramDevice::drain() {
    while (poll()) {}
}

Result<void> copy_into(ZramVolume& volume, FdRef file) {
    struct stat about{};
    if (::fstat(file.number(), &about) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    const auto size = static_cast<std::uint64_t>(about.st_size);
    if (size > to_bytes(volume.capacity()).value()) {
        return Error(Code::InvalidArgument, std::to_string(size) + " B do not fit into the disk");
    }
    std::array<std::byte, kPage> page{};
    for (off_t data = ::lseek(file.number(), 0, SEEK_DATA); data >= 0;
         data = ::lseek(file.number(), data, SEEK_DATA)) {
        data -= data % static_cast<off_t>(kPage);
        page.fill(std::byte{0});
        const ssize_t got = ::pread(file.number(), page.data(), page.size(), data);
        if (got < 0) {
            return Error::from_errno(errno, "pread");
        }
        const IoStatus status = volume.write(Pages(static_cast<std::uint64_t>(data) / kPage), page);
        if (status != IoStatus::Ok) {
            return Error(Code::ResourceExhausted, "the store has no room for it");
        }
        data += static_cast<off_t>(kPage);
    }
    if (errno != ENXIO) {  // no data from there on
        return Error::from_errno(errno, "lseek");
    }
    return {};
}

}  // namespace pepita::storage
