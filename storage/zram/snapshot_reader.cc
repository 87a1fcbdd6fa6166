#include "storage/zram/snapshot_reader.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/snapshot_format.h"
#include "storage/zram_store.h"

namespace pepita::storage::zram {
namespace {

// A file that ends too early is a damaged one.
Result<void> read_part(FdRef file, std::span<std::byte> into, std::uint64_t offset) {
    if (auto done = read_exactly(file, into, offset); !done) {
        if (done.error().code() != Code::OutOfRange) {
            return std::move(done).error().within("snapshot");
        }
        return Error(Code::DataLoss, "snapshot is cut off behind byte " + std::to_string(offset));
    }
    return {};
}

}  // namespace

Result<SnapshotReader> SnapshotReader::open(FdRef file) {
    SnapshotHeader header;
    TRY(read_part(file, std::as_writable_bytes(std::span(&header, 1)), 0));
    if (header.magic != kSnapshotMagic) {
        return Error(Code::DataLoss, "not a snapshot");
    }
    if (header.version != kSnapshotVersion || header.page_bytes != kPageBytes) {
        return Error(Code::Unsupported, "snapshot of version " + std::to_string(header.version) +
                                            ", not " + std::to_string(kSnapshotVersion) +
                                            ", or of other pages than 4 KiB");
    }
    const auto bytes = std::as_bytes(std::span(&header, 1));
    const Pages capacity(header.capacity);
    if (header.sum != checksum(bytes.first(offsetof(SnapshotHeader, sum))) ||
        header.reserved != 0 || header.capacity == 0 || capacity > ZramVolume::kCapacityMax ||
        (header.content != ZramContent::Disk && header.content != ZramContent::Overlay)) {
        return Error(Code::DataLoss, "snapshot is damaged in its header");
    }
    return SnapshotReader(file, header);
}

SnapshotReader::SnapshotReader(FdRef file, const SnapshotHeader& header)
    : file_(file), capacity_(header.capacity) {
    if (header.content == ZramContent::Overlay) {
        base_ = SnapshotBase{.size = Bytes(header.base_bytes), .sum = header.base};
    }
    seen_.sums = header.sum;
}

Error SnapshotReader::damaged(const char* what) const {
    return Error(Code::DataLoss,
                 "snapshot is damaged in section " + std::to_string(seen_.sections) + ": " + what);
}

template <typename T>
std::optional<T> SnapshotReader::take() {
    if (rest_.size() < sizeof(T)) {
        return std::nullopt;
    }
    T value;
    std::memcpy(&value, rest_.data(), sizeof(T));
    rest_ = rest_.subspan(sizeof(T));
    return value;
}

Result<std::optional<SnapshotRecord>> SnapshotReader::next() {
    if (rest_.empty() && !TRY(read_section())) {
        return std::optional<SnapshotRecord>();
    }
    const std::optional<Record> record = take<Record>();
    if (!record) {
        return damaged("a record is cut off");
    }
    const SnapshotRecord its = TRY(parse(*record));
    if (its.page.value() < next_page_ || its.page >= capacity_ || its.count == 0 ||
        its.count > (capacity_ - its.page).value()) {
        return damaged("pages do not ascend, or are beyond the capacity");
    }
    next_page_ = its.page.value() + its.count;
    seen_.pages += its.count;
    if (rest_.empty()) {
        ++seen_.sections;
    }
    return std::optional(its);
}

Result<SnapshotRecord> SnapshotReader::parse(const Record& record) {
    SnapshotRecord its{
        .kind = record.kind, .page = Pages(record.page), .original = Pages(0), .content = {}};
    switch (record.kind) {
        case RecordKind::Raw:
        case RecordKind::Packed: {
            const bool is_raw = record.kind == RecordKind::Raw;
            if (record.size > rest_.size() || record.size == 0 ||
                (is_raw ? record.size != kPageBytes : record.size >= kPageBytes)) {
                return damaged("a content has no size that it could have");
            }
            its.content = rest_.first(record.size);
            rest_ = rest_.subspan(record.size);
            return its;
        }
        case RecordKind::Fill: {
            const std::optional<std::uint32_t> count = take<std::uint32_t>();
            if (!count || record.size > 0xff) {
                return damaged("a run of pages is cut off");
            }
            its.count = *count;
            its.byte = static_cast<std::uint8_t>(record.size);
            return its;
        }
        case RecordKind::Copy: {
            const std::optional<std::uint32_t> original = take<std::uint32_t>();
            if (!original || record.size != 0 || *original >= record.page) {
                return damaged("a page is like none before it");
            }
            its.original = Pages(*original);
            return its;
        }
    }
    return damaged("a record is of no known kind");
}

/// False where it was the last one, and all is well.
Result<bool> SnapshotReader::read_section() {
    SectionHeader header;
    TRY(read_part(file_, std::as_writable_bytes(std::span(&header, 1)), offset_));
    const bool is_end = header.kind == SectionKind::End;
    if ((!is_end && header.kind != SectionKind::Pages) || header.number != seen_.sections ||
        header.bytes == 0 || header.bytes > kBodyMax) {
        return damaged("its header");
    }
    const std::size_t summed = sizeof(SectionHeader) + header.bytes;
    section_.resize(summed + sizeof(Checksum));
    TRY(read_part(file_, section_, offset_));
    const auto bytes = std::span<const std::byte>(section_);
    Checksum sum;
    std::memcpy(&sum, bytes.subspan(summed).data(), sizeof(sum));
    // The header once more: it is what is in memory now that is checked and used.
    if (sum != checksum(bytes.first(summed)) ||
        std::memcmp(bytes.data(), &header, sizeof(header)) != 0) {
        return damaged("its checksum");
    }
    offset_ += section_.size();
    rest_ = bytes.subspan(sizeof(SectionHeader), header.bytes);
    if (is_end) {
        TRY(check_end(std::exchange(rest_, {})));
        return false;
    }
    seen_.sums = link(seen_.sums, sum);
    return true;
}

Result<void> SnapshotReader::check_end(std::span<const std::byte> body) const {
    SnapshotEnd end;
    if (body.size() != sizeof(end)) {
        return damaged("the end");
    }
    std::memcpy(&end, body.data(), sizeof(end));
    if (end.sections != seen_.sections || end.pages != seen_.pages || end.sums != seen_.sums) {
        return damaged("the end is that of another snapshot");
    }
    if (TRY(file_size(file_), "snapshot") != Bytes(offset_)) {
        return damaged("something follows the end");
    }
    return {};
}

}  // namespace pepita::storage::zram
