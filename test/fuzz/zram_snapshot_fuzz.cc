#include <sys/mman.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/snapshot_format.h"
#include "storage/zram_snapshot.h"
#include "test/support/fake_zram_volume.h"

namespace {

namespace zram = pepita::storage::zram;

constexpr pepita::Pages kCapacity{512};

/// A snapshot with these records, and checksums that are right: no input would come by them.
std::vector<std::byte> sealed(std::span<const std::byte> records, std::uint64_t pages) {
    zram::SnapshotHeader header{.capacity = kCapacity.value(), .base = {}, .sum = {}};
    header.sum = zram::checksum(
        std::as_bytes(std::span(&header, 1)).first(offsetof(zram::SnapshotHeader, sum)));
    std::vector<std::byte> file;
    zram::append(file, header);
    std::vector<std::byte> section = zram::begin_section();
    section.insert(section.end(), records.begin(), records.end());
    const zram::Checksum sums =
        zram::link(header.sum, zram::seal_section(section, zram::SectionKind::Pages, 0));
    file.insert(file.end(), section.begin(), section.end());
    std::vector<std::byte> end = zram::begin_section();
    zram::append(end, zram::SnapshotEnd{.sections = 1, .pages = pages, .sums = sums});
    (void)zram::seal_section(end, zram::SectionKind::End, 1);
    file.insert(file.end(), end.begin(), end.end());
    return file;
}

}  // namespace

// The first byte chooses: 0 is a file as it comes; else it counts the pages of the records that
// follow, and they get a file around them.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) {
        return 0;
    }
    const auto rest = std::as_bytes(std::span(data, size)).subspan(1);
    const std::vector<std::byte> bytes =
        data[0] == 0 ? std::vector<std::byte>(rest.begin(), rest.end()) : sealed(rest, data[0]);
    const pepita::Fd file(::memfd_create("fuzz", MFD_CLOEXEC));
    if (!pepita::write_all(file.ref(), bytes, "fuzz")) {
        std::abort();
    }
    pepita::test::FakeZramVolume volume(kCapacity);
    const bool is_loaded = pepita::storage::load_snapshot(file.ref(), volume).has_value();
    if (!is_loaded && !volume.pages.empty()) {
        std::abort();
    }
    if (!is_loaded) {
        return 0;
    }
    // What was taken can be saved, and is the same then.
    const pepita::Fd again(::memfd_create("fuzz", MFD_CLOEXEC));
    pepita::test::FakeZramVolume other(kCapacity);
    if (!pepita::storage::save_snapshot(volume, again.ref()) ||
        !pepita::storage::load_snapshot(again.ref(), other) || other.pages != volume.pages) {
        std::abort();
    }
    return 0;
}
