#include "storage/zram_snapshot.h"

#include <fcntl.h>
#include <stdio.h>  // renameat
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/snapshot_format.h"
#include "storage/zram/snapshot_reader.h"
#include "storage/zram/snapshot_writer.h"
#include "storage/zram_store.h"

namespace pepita::storage {
namespace {

using Page = std::array<std::byte, kPageBytes>;

constexpr std::size_t kBasePart = std::size_t{1} << 20U;

std::string page_named(Pages page) { return "page " + std::to_string(page.value()); }

Result<void> check(IoStatus status, Pages page) {
    switch (status) {
        case IoStatus::Ok:
            return {};
        case IoStatus::NoSpace:
            return Error(Code::ResourceExhausted, page_named(page) + ": the store is full");
        case IoStatus::Failed:
        case IoStatus::Unsupported:
            break;
    }
    return Error(Code::Unavailable, page_named(page) + " is damaged or not there any more");
}

Result<void> fill(const zram::SnapshotRecord& record, ZramVolume& into) {
    if (record.byte == 0) {
        return check(into.write_zeroes(record.page, Pages(record.count)), record.page);
    }
    Page content;
    content.fill(static_cast<std::byte>(record.byte));
    for (std::uint64_t i = 0; i < record.count; ++i) {
        const Pages page = record.page + Pages(i);
        TRY(check(into.write(page, content), page));
    }
    return {};
}

Result<void> apply(const zram::SnapshotRecord& record, ZramVolume& into) {
    Page content;
    switch (record.kind) {
        case zram::RecordKind::Fill:
            return fill(record, into);
        case zram::RecordKind::Raw:
            return check(into.write(record.page, record.content), record.page);
        case zram::RecordKind::Packed:
            if (!lz4_decompress_page(record.content, content)) {
                return Error(Code::DataLoss,
                             "snapshot is damaged: " + page_named(record.page) + " is no page");
            }
            break;
        case zram::RecordKind::Copy:
            if (!into.contains(record.original)) {
                return Error(Code::DataLoss, "snapshot is damaged: " + page_named(record.page) +
                                                 " is like one that it does not have");
            }
            TRY(check(into.read(record.original, content), record.original));
            break;
    }
    return check(into.write(record.page, content), record.page);
}

Result<void> load_all(zram::SnapshotReader& reader, ZramVolume& into) {
    while (true) {
        const std::optional<zram::SnapshotRecord> record = TRY(reader.next());
        if (!record) {
            return {};
        }
        TRY(apply(*record, into));
    }
}

/// Where pages are absent, what lies below is part of the disk.
Result<void> check_base(const std::optional<SnapshotBase>& snapshot,
                        const std::optional<SnapshotBase>& volume, const std::string& name) {
    if (snapshot == volume) {
        return {};
    }
    const std::string its = "volume '" + name + "'";
    if (!volume) {
        return Error(Code::FailedPrecondition,
                     "it is a snapshot of an overlay, and " + its + " lies over nothing");
    }
    return Error(Code::FailedPrecondition,
                 snapshot ? "it is a snapshot of an overlay over another "
                            "disk than " +
                                its + " lies over"
                          : "it is a snapshot of a whole disk, and " + its + " is an overlay");
}

Error at_file(std::string_view doing, const std::string& name) {
    const int reason = errno;
    return Error::from_errno(reason, std::string(doing) + " '" + name + "'");
}

/// Puts it under that name, and sees to it that it stays there.
Result<void> rename_durably(FdRef directory, const std::string& from, const std::string& to) {
    if (::renameat(directory.number(), from.c_str(), directory.number(), to.c_str()) != 0) {
        return at_file("rename to", to);
    }
    if (::fsync(directory.number()) != 0) {
        return at_file("fsync the directory of", to);
    }
    return {};
}

}  // namespace

Result<SnapshotBase> snapshot_base(FdRef file) {
    zram::RunningChecksum sum;
    std::vector<std::byte> part(kBasePart);
    std::uint64_t at = 0;
    while (true) {
        const ssize_t got =
            ::pread(file.number(), part.data(), part.size(), static_cast<off_t>(at));
        if (got < 0) {
            return Error::from_errno(errno, "read what lies below the overlay");
        }
        if (got == 0) {
            return SnapshotBase{.size = Bytes(at), .sum = sum.value()};
        }
        sum.add(std::span(part).first(static_cast<std::size_t>(got)));
        at += static_cast<std::uint64_t>(got);
    }
}

Result<void> save_snapshot(ZramVolume& volume, FdRef into,
                           const std::optional<SnapshotBase>& base) {
    if (TRY(file_size(into), "snapshot") != Bytes(0)) {
        return Error(Code::InvalidArgument, "the file for a snapshot is not empty");
    }
    const std::unique_ptr<ZramFrozen> frozen = TRY(volume.freeze());
    zram::SnapshotWriter writer(into, frozen->capacity(), base);
    TRY(writer.begin());
    Page content;
    while (const std::optional<Pages> page =
               TRY(frozen->next(content), "volume '", volume.name(), "'")) {
        TRY(writer.add(static_cast<std::uint32_t>(page->value()), content));
    }
    TRY(writer.finish());
    if (::fsync(into.number()) != 0) {
        return Error::from_errno(errno, "fsync the snapshot");
    }
    return {};
}

Result<void> replace_snapshot(ZramVolume& volume, FdRef directory, const std::string& name,
                              const std::optional<SnapshotBase>& base) {
    const std::string temporary = name + ".new";
    const Fd file = TRY(create_temporary(directory, temporary, 0600));
    Result<void> done = save_snapshot(volume, file.ref(), base);
    if (done) {
        done = rename_durably(directory, temporary, name);
    }
    if (!done) {
        (void)::unlinkat(directory.number(), temporary.c_str(), 0);
    }
    return done;
}

Result<Pages> snapshot_capacity(FdRef from) {
    return TRY(zram::SnapshotReader::open(from)).capacity();
}

Result<void> load_snapshot(FdRef from, ZramVolume& into, const std::optional<SnapshotBase>& base) {
    zram::SnapshotReader reader = TRY(zram::SnapshotReader::open(from));
    TRY(check_base(reader.base(), base, into.name()));
    const Pages capacity = into.capacity();
    if (reader.capacity() > capacity) {
        return Error(Code::InvalidArgument, "snapshot of " +
                                                std::to_string(reader.capacity().value()) +
                                                " pages does not fit into volume '" + into.name() +
                                                "' of " + std::to_string(capacity.value()));
    }
    TRY(into.begin_filling());
    Result<void> done = load_all(reader, into);
    into.end_filling(done ? ZramVolume::Filled::Whole : ZramVolume::Filled::InVain);
    return done;
}

}  // namespace pepita::storage
