#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "storage/zram/lz4_page.h"
#include "storage/zram_snapshot.h"
#include "storage/zram_store.h"

// A snapshot file, little-endian:
//
//   SnapshotHeader
//   sections: SectionHeader, its body, and the checksum of both
//     Pages, any number     body: records, each with what its kind says behind it
//     End, the last         body: SnapshotEnd; the file ends behind it
//
// Pages ascend through all records, so none stands in it twice.
namespace pepita::storage::zram {

using Checksum = SnapshotChecksum;

/// XXH3-128.
Checksum checksum(std::span<const std::byte> bytes);
/// Of what comes piece by piece.
class RunningChecksum {
public:
    RunningChecksum();
    void add(std::span<const std::byte> bytes);
    Checksum value() const;

private:
    struct State;
    struct Deleter {
        void operator()(State* state) const;
    };
    std::unique_ptr<State, Deleter> state_;
};

/// Of a row of checksums, each of which is linked to those before it.
Checksum link(Checksum before, Checksum next);

inline constexpr std::array<char, 8> kSnapshotMagic{'p', 'e', 'p', 'i', 't', 'a', 'Z', 'S'};
inline constexpr std::uint32_t kSnapshotVersion = 2;  // 1 did not say what it is of

struct SnapshotHeader {
    std::array<char, 8> magic = kSnapshotMagic;
    std::uint32_t version = kSnapshotVersion;
    std::uint32_t page_bytes = kPageBytes;
    std::uint64_t capacity = 0;  // pages
    ZramContent content = ZramContent::Disk;
    std::uint32_t reserved = 0;
    std::uint64_t base_bytes = 0;  // of an overlay: what it lies over
    Checksum base;
    Checksum sum;  // of all before
};
static_assert(sizeof(SnapshotHeader) == 72);

enum class SectionKind : std::uint32_t { Pages = 0x53474150, End = 0x20444e45 };  // "PAGS", "END "

struct SectionHeader {
    SectionKind kind = SectionKind::Pages;
    std::uint32_t bytes = 0;   // of its body
    std::uint64_t number = 0;  // from 0 on
};
static_assert(sizeof(SectionHeader) == 16);

inline constexpr std::size_t kBodyMax = std::size_t{1} << 20U;

enum class RecordKind : std::uint16_t {
    Raw = 1,     // `size` is kPageBytes, and so much stands behind
    Packed = 2,  // `size` bytes of an LZ4 block stand behind
    Fill = 3,    // `size` is the byte that the page is full of; a count of such pages stands behind
    Copy = 4,    // `size` is 0; the number of an earlier page with this content stands behind
};

struct Record {
    std::uint32_t page = 0;
    RecordKind kind = RecordKind::Raw;
    std::uint16_t size = 0;
};
static_assert(sizeof(Record) == 8);
static_assert(ZramVolume::kCapacityMax.value() <= UINT32_MAX);

struct SnapshotEnd {
    std::uint64_t sections = 0;  // before this one
    std::uint64_t pages = 0;     // in all records
    Checksum sums;               // of the header and these sections, linked
};
static_assert(sizeof(SnapshotEnd) == 32);

/// A section with room for its header, and nothing in it.
std::vector<std::byte> begin_section();
/// Fills its header in, puts the checksum behind it, and gives that.
Checksum seal_section(std::vector<std::byte>& section, SectionKind kind, std::uint64_t number);

template <typename T>
void append(std::vector<std::byte>& bytes, const T& value) {
    const auto its = std::as_bytes(std::span(&value, 1));
    bytes.insert(bytes.end(), its.begin(), its.end());
}

}  // namespace pepita::storage::zram
