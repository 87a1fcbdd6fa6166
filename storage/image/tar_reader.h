#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/result.h"
#include "storage/image/byte_source.h"

namespace pepita::storage::image {

/// One entry of a tar archive, its headers resolved. Names are bytes, as in the archive.
struct TarEntry {
    enum class Type : std::uint8_t {
        Regular,
        HardLink,
        Symlink,
        Character,
        Block,
        Directory,
        Fifo,
    };
    struct Extent {
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
        friend bool operator==(const Extent&, const Extent&) = default;
    };

    Type type = Type::Regular;
    std::string path;
    std::string link;  // of links: the target
    std::uint32_t mode = 0;
    std::uint32_t uid = 0;
    std::uint32_t gid = 0;
    std::int64_t mtime = 0;
    std::uint32_t mtime_ns = 0;
    std::uint32_t major = 0;
    std::uint32_t minor = 0;
    std::uint64_t size = 0;         // of the file
    std::uint64_t stored_size = 0;  // of its data in the archive
    /// Of a sparse file: where the stored data belong, one after the other; holes elsewhere.
    std::optional<std::vector<Extent>> extents;
    std::map<std::string, std::string> xattrs;
};

/// Reads tar: V7, ustar, star, GNU (long names, binary numbers, sparse), PAX (also sparse 0.0, 0.1
/// and 1.0). Written here because archives of images come from everybody and go into a tree that
/// must be the same as what other tools make of them: libarchive passes names through the locale's
/// character set and has a negative time with a fraction wrong.
///
/// What container tools ignore is ignored: global PAX headers, owner names, SCHILY.acl (ACLs come
/// as SCHILY.xattr.system.posix_acl_*).
///
/// A *skeleton* is an archive without the data of its files. It is what `on_header` was given when
/// the whole was read, and what a reader of Kind::Skeleton reads: the same entries come out.
///
/// Source: POSIX.1-2017 pax; GNU tar's manual, "Basic Tar Format" and "Sparse Formats".
class TarReader {
public:
    enum class Kind : std::uint8_t { Whole, Skeleton };
    using OnHeader = std::move_only_function<Result<void>(std::span<const std::byte>)>;

    /// `source` is borrowed. `on_header` gets all bytes that are no file's data.
    explicit TarReader(ByteSource& source, Kind kind = Kind::Whole, OnHeader on_header = {});

    /// The next entry, past what was not read of the last one's data; nothing at the end.
    /// Errors: DataLoss for what is damaged or truncated; Unsupported for what no layer has;
    /// ResourceExhausted beyond ImageLimits.
    Result<std::optional<TarEntry>> next();

    /// Stored data of the entry that next() gave last; 0 at their end. Of Kind::Whole.
    Result<std::size_t> read(std::span<std::byte> into);

    /// Bytes of the archive that were read: after next(), where the entry's data begin.
    std::uint64_t position() const { return position_; }

    /// After next() gave nothing: reads what lies behind the archive's end.
    Result<void> finish();

private:
    struct Pax {
        std::map<std::string, std::string, std::less<>> records;
        std::vector<TarEntry::Extent> extents;  // of format 0.0
    };
    struct Sparse;
    using Header = std::span<const std::byte, 512>;

    Result<std::size_t> take(std::span<std::byte> into);
    Result<void> pass_header(std::span<const std::byte> bytes);
    /// The next 512 bytes; false where the archive ends before them.
    Result<bool> read_block(std::span<std::byte, 512> into);
    Result<void> skip_rest();
    Result<std::string> read_text(std::uint64_t size);
    Result<TarEntry> entry_of(Header header, const Pax& pax, std::optional<std::string> long_name,
                              std::optional<std::string> long_link);
    Result<void> apply_pax(TarEntry& entry, const Pax& pax);
    Result<void> apply_sparse_pax(TarEntry& entry, const Pax& pax);
    Result<void> read_old_sparse(TarEntry& entry, Header header);
    Result<void> read_sparse_map(TarEntry& entry);
    Result<Pax> parse_pax(std::string_view text);

    ByteSource& source_;
    Kind kind_;
    OnHeader on_header_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint64_t data_left_ = 0;
    std::size_t padding_left_ = 0;
    std::uint64_t position_ = 0;
    std::uint64_t entries_ = 0;
    std::uint64_t header_bytes_ = 0;
};

}  // namespace pepita::storage::image
