#include "storage/zram/snapshot_reader.h"

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/snapshot_format.h"

namespace pepita::storage::zram {
namespace {

// Files that somebody made on purpose: all checksums are right.

std::vector<std::byte> header_of(std::uint64_t capacity) {
    SnapshotHeader header{.capacity = capacity, .base = {}, .sum = {}};
    header.sum =
        checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(SnapshotHeader, sum)));
    std::vector<std::byte> bytes;
    append(bytes, header);
    return bytes;
}

/// One section of these records, in a snapshot of 100 pages that says to have `pages`.
std::vector<std::byte> file_of(const std::vector<std::byte>& records, std::uint64_t pages) {
    std::vector<std::byte> file = header_of(100);
    Checksum sums = checksum(std::span(file).first(offsetof(SnapshotHeader, sum)));
    std::vector<std::byte> section = begin_section();
    section.insert(section.end(), records.begin(), records.end());
    sums = link(sums, seal_section(section, SectionKind::Pages, 0));
    file.insert(file.end(), section.begin(), section.end());
    std::vector<std::byte> end = begin_section();
    append(end, SnapshotEnd{.sections = 1, .pages = pages, .sums = sums});
    (void)seal_section(end, SectionKind::End, 1);
    file.insert(file.end(), end.begin(), end.end());
    return file;
}

/// Reads all of it; what the error says, or nothing.
std::string outcome(const std::vector<std::byte>& bytes) {
    const Fd file(::memfd_create("snapshot", MFD_CLOEXEC));
    EXPECT_TRUE(write_all(file.ref(), bytes, "snapshot").has_value());
    auto reader = SnapshotReader::open(file.ref());
    if (!reader) {
        return reader.error().message();
    }
    while (true) {
        auto record = reader->next();
        if (!record) {
            EXPECT_EQ(record.error().code(), Code::DataLoss);
            return record.error().message();
        }
        if (!*record) {
            return "";
        }
    }
}

std::vector<std::byte> record(std::uint32_t page, RecordKind kind, std::uint16_t size) {
    std::vector<std::byte> bytes;
    append(bytes, Record{.page = page, .kind = kind, .size = size});
    return bytes;
}

std::vector<std::byte> fill(std::uint32_t page, std::uint32_t count, std::uint16_t byte = 0) {
    std::vector<std::byte> bytes = record(page, RecordKind::Fill, byte);
    append(bytes, count);
    return bytes;
}

std::vector<std::byte> copy(std::uint32_t page, std::uint32_t original, std::uint16_t size = 0) {
    std::vector<std::byte> bytes = record(page, RecordKind::Copy, size);
    append(bytes, original);
    return bytes;
}

std::vector<std::byte> content(std::uint32_t page, RecordKind kind, std::uint16_t size,
                               std::size_t bytes_behind) {
    std::vector<std::byte> bytes = record(page, kind, size);
    bytes.resize(bytes.size() + bytes_behind);
    return bytes;
}

std::vector<std::byte> both(std::vector<std::byte> a, const std::vector<std::byte>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

std::string damage(const std::string& what) { return "snapshot is damaged in section 0: " + what; }

TEST(SnapshotReader, TakesWhatIsSound) {
    EXPECT_EQ(outcome(file_of(fill(0, 100), 100)), "");
    EXPECT_EQ(outcome(file_of(content(99, RecordKind::Raw, kPageBytes, kPageBytes), 1)), "");
    EXPECT_EQ(outcome(file_of(content(0, RecordKind::Packed, 4095, 4095), 1)), "");
    EXPECT_EQ(outcome(file_of(both(fill(3, 1, 255), copy(4, 3)), 2)), "");
}

TEST(SnapshotReader, PagesAscendAndStayBelowTheCapacity) {
    const std::string wrong = damage("pages do not ascend, or are beyond the capacity");
    EXPECT_EQ(outcome(file_of(fill(100, 1), 1)), wrong);
    EXPECT_EQ(outcome(file_of(fill(0, 101), 101)), wrong);
    EXPECT_EQ(outcome(file_of(fill(99, UINT32_MAX), 1)), wrong);
    EXPECT_EQ(outcome(file_of(fill(5, 0), 0)), wrong);
    EXPECT_EQ(outcome(file_of(both(fill(5, 2), fill(6, 1)), 3)), wrong);
    EXPECT_EQ(outcome(file_of(both(fill(5, 1), fill(4, 1)), 2)), wrong);
}

TEST(SnapshotReader, RecordsAreWholeAndOfTheirKind) {
    const std::string size = damage("a content has no size that it could have");
    EXPECT_EQ(outcome(file_of(content(0, RecordKind::Raw, 4095, 4096), 1)), size);
    EXPECT_EQ(outcome(file_of(content(0, RecordKind::Raw, kPageBytes, 4095), 1)), size);
    EXPECT_EQ(outcome(file_of(content(0, RecordKind::Packed, kPageBytes, 4096), 1)), size);
    EXPECT_EQ(outcome(file_of(content(0, RecordKind::Packed, 0, 0), 1)), size);
    EXPECT_EQ(outcome(file_of(record(0, RecordKind::Fill, 0), 1)),
              damage("a run of pages is cut off"));
    EXPECT_EQ(outcome(file_of(fill(0, 1, 256), 1)), damage("a run of pages is cut off"));
    EXPECT_EQ(outcome(file_of(copy(7, 7), 1)), damage("a page is like none before it"));
    EXPECT_EQ(outcome(file_of(copy(7, 6, 1), 1)), damage("a page is like none before it"));
    std::vector<std::byte> unknown = record(0, RecordKind::Copy, 0);
    unknown[offsetof(Record, kind)] = std::byte{5};
    EXPECT_EQ(outcome(file_of(unknown, 1)), damage("a record is of no known kind"));
    EXPECT_EQ(outcome(file_of(std::vector<std::byte>(7), 1)), damage("a record is cut off"));
}

TEST(SnapshotReader, SectionsHaveARightSizeAndNumber) {
    EXPECT_EQ(outcome(file_of({}, 0)), damage("its header"));
    EXPECT_EQ(outcome(file_of(std::vector<std::byte>(kBodyMax + 1), 0)), damage("its header"));
    EXPECT_EQ(outcome(file_of(fill(0, 5), 4)),
              "snapshot is damaged in section 1: the end is that of another snapshot");
}

TEST(SnapshotReader, CapacitiesAreThoseOfVolumes) {
    const std::string wrong = "snapshot is damaged in its header";
    EXPECT_EQ(outcome(header_of(0)), wrong);
    EXPECT_EQ(outcome(header_of(ZramVolume::kCapacityMax.value() + 1)), wrong);
    EXPECT_EQ(outcome(header_of(UINT64_MAX)), wrong);
    EXPECT_EQ(outcome(header_of(ZramVolume::kCapacityMax.value())),
              "snapshot is cut off behind byte 72");
}

}  // namespace
}  // namespace pepita::storage::zram
