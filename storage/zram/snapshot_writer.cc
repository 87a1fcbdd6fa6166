#include "storage/zram/snapshot_writer.h"

#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/snapshot_format.h"

namespace pepita::storage::zram {
namespace {

constexpr std::size_t kRecordMax = sizeof(Record) + kPageBytes;
// What packs to more is kept as it is.
constexpr std::size_t kPackedMax = kPageBytes - 128;

bool is_one_byte(PageView page) {
    return std::memcmp(page.data(), page.data() + 1, kPageBytes - 1) == 0;
}

}  // namespace

SnapshotWriter::SnapshotWriter(FdRef file, Pages capacity, const std::optional<SnapshotBase>& base)
    : file_(file),
      capacity_(capacity),
      base_(base),
      section_(begin_section()),
      known_(std::clamp<std::size_t>(std::bit_ceil(capacity.value()), kWays, kKnownMax)) {
    section_.reserve(sizeof(SectionHeader) + kBodyMax + sizeof(Checksum));
}

Result<void> SnapshotWriter::begin() {
    SnapshotHeader header{.capacity = capacity_.value(), .base = {}, .sum = {}};
    if (base_) {
        header.content = ZramContent::Overlay;
        header.base_bytes = base_->size.value();
        header.base = base_->sum;
    }
    const auto bytes = std::as_bytes(std::span(&header, 1));
    header.sum = checksum(bytes.first(offsetof(SnapshotHeader, sum)));
    end_.sums = header.sum;
    return write(bytes);
}

Result<void> SnapshotWriter::add(std::uint32_t page, PageView content) {
    if (is_one_byte(content)) {
        const auto byte = std::to_integer<std::uint8_t>(content.front());
        if (!run_ || run_->byte != byte || run_->page + run_->count != page) {
            TRY(end_run());
            run_ = Run{.page = page, .count = 0, .byte = byte};
        }
        ++run_->count;
        return {};
    }
    TRY(end_run());
    TRY(make_room());
    std::array<std::byte, kPackedMax + kLz4Spare> packed;
    const std::size_t size = lz4_compress_page(content, packed);
    const bool is_packed = size != 0 && size <= kPackedMax;
    const auto kept = is_packed ? std::span<const std::byte>(packed).first(size)
                                : std::span<const std::byte>(content);
    const Checksum hash = checksum(kept);
    const Known now{.offset = offset_ + section_.size() + sizeof(Record),
                    .page = page,
                    .tag = static_cast<std::uint16_t>(hash.high),
                    .size = static_cast<std::uint16_t>(kept.size())};
    ++end_.pages;
    const auto set = std::span(known_).subspan(hash.low % (known_.size() / kWays) * kWays, kWays);
    for (const Known& known : set) {
        if (known.tag == now.tag && TRY(is_known(known, kept))) {
            append(section_, Record{.page = page, .kind = RecordKind::Copy, .size = 0});
            append(section_, known.page);
            return {};
        }
    }
    std::ranges::copy_backward(set.first(kWays - 1), set.end());  // the oldest goes
    set.front() = now;
    append(section_, Record{.page = page,
                            .kind = is_packed ? RecordKind::Packed : RecordKind::Raw,
                            .size = now.size});
    section_.insert(section_.end(), kept.begin(), kept.end());
    return {};
}

// The encoder makes one thing of one content, so what both are packed to can be compared.
Result<bool> SnapshotWriter::is_known(const Known& known,
                                      std::span<const std::byte> content) const {
    if (known.size != content.size()) {
        return false;
    }
    if (known.offset >= offset_) {
        return std::ranges::equal(std::span(section_).subspan(known.offset - offset_, known.size),
                                  content);
    }
    std::array<std::byte, kPageBytes> before;
    const auto bytes = std::span(before).first(known.size);
    TRY(read_exactly(file_, bytes, known.offset), "the snapshot");
    return std::ranges::equal(bytes, content);
}

Result<void> SnapshotWriter::end_run() {
    if (!run_) {
        return {};
    }
    TRY(make_room());
    append(section_, Record{.page = run_->page, .kind = RecordKind::Fill, .size = run_->byte});
    append(section_, run_->count);
    end_.pages += run_->count;
    run_.reset();
    return {};
}

Result<void> SnapshotWriter::make_room() {
    if (section_.size() - sizeof(SectionHeader) + kRecordMax <= kBodyMax) {
        return {};
    }
    return end_section();
}

Result<void> SnapshotWriter::end_section() {
    end_.sums = link(end_.sums, seal_section(section_, SectionKind::Pages, end_.sections));
    ++end_.sections;
    TRY(write(section_));
    section_.resize(sizeof(SectionHeader));
    return {};
}

Result<void> SnapshotWriter::finish() {
    TRY(end_run());
    if (section_.size() > sizeof(SectionHeader)) {
        TRY(end_section());
    }
    append(section_, end_);
    (void)seal_section(section_, SectionKind::End, end_.sections);
    return write(section_);
}

Result<void> SnapshotWriter::write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t put =
            ::pwrite(file_.number(), bytes.data(), bytes.size(), static_cast<off_t>(offset_));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put < 0) {
            return Error::from_errno(errno, "write the snapshot");
        }
        bytes = bytes.subspan(static_cast<std::size_t>(put));
        offset_ += static_cast<std::uint64_t>(put);
    }
    return {};
}

}  // namespace pepita::storage::zram
