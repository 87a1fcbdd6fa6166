#include "storage/image/tar_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "storage/image/byte_source.h"
#include "storage/image/limits.h"

namespace pepita::storage::image {
namespace {

constexpr std::size_t kBlock = 512;
constexpr std::size_t kBufferSize = std::size_t{128} << 10U;

using Header = std::span<const std::byte, kBlock>;
using Block = std::array<std::byte, kBlock>;

/// A field of the header by its place.
struct Field {
    std::size_t offset;
    std::size_t length;
};
constexpr Field kName{.offset = 0, .length = 100};
constexpr Field kMode{.offset = 100, .length = 8};
constexpr Field kUid{.offset = 108, .length = 8};
constexpr Field kGid{.offset = 116, .length = 8};
constexpr Field kSize{.offset = 124, .length = 12};
constexpr Field kMtime{.offset = 136, .length = 12};
constexpr Field kChecksum{.offset = 148, .length = 8};
constexpr std::size_t kTypeFlag = 156;
constexpr Field kLinkName{.offset = 157, .length = 100};
constexpr Field kMagic{.offset = 257, .length = 8};
constexpr Field kMajor{.offset = 329, .length = 8};
constexpr Field kMinor{.offset = 337, .length = 8};
constexpr Field kPrefix{.offset = 345, .length = 155};
constexpr Field kStarPrefix{.offset = 345, .length = 131};
constexpr Field kStarTrailer{.offset = 508, .length = 4};
// GNU's old sparse format.
constexpr std::size_t kSparseEntries = 386;
constexpr std::size_t kSparseEntriesCount = 4;
constexpr std::size_t kSparseIsExtended = 482;
constexpr Field kSparseRealSize{.offset = 483, .length = 12};
constexpr std::size_t kSparseMoreCount = 21;
constexpr std::size_t kSparseMoreIsExtended = 504;

std::string_view bytes_of(Header header, Field field) {
    // SAFETY: bytes seen as characters.
    return {reinterpret_cast<const char*>(header.data()) + field.offset, field.length};
}

std::string text_of(Header header, Field field) {
    const std::string_view bytes = bytes_of(header, field);
    return std::string(bytes.substr(0, bytes.find('\0')));
}

Error damaged(std::string_view what) {
    return {Code::DataLoss, "the tar archive is damaged: " + std::string(what)};
}

Error truncated() { return {Code::DataLoss, "the tar archive is truncated"}; }

/// Two's complement, big endian, below a first bit that says so.
std::optional<std::int64_t> binary_number(std::string_view bytes) {
    const auto first = static_cast<std::uint8_t>(bytes.front());
    const bool is_negative = (first & 0x40U) != 0;
    std::uint64_t value = is_negative ? ~0ULL : 0;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        std::uint8_t byte = static_cast<std::uint8_t>(bytes[i]);
        if (i == 0) {
            byte = is_negative ? byte | 0x80U : byte & 0x7fU;
        }
        const std::uint64_t top = value >> 55U;  // the sign and what the shift pushes out
        if (top != (is_negative ? 0x1ffU : 0U)) {
            return std::nullopt;
        }
        value = value << 8U | byte;
    }
    return static_cast<std::int64_t>(value);
}

/// Octal text between blanks, or a binary number. An empty field is 0.
std::optional<std::int64_t> number_of(std::string_view bytes) {
    if ((static_cast<std::uint8_t>(bytes.front()) & 0x80U) != 0) {
        return binary_number(bytes);
    }
    const auto is_blank = [](char c) { return c == ' ' || c == '\0'; };
    while (!bytes.empty() && is_blank(bytes.front())) {
        bytes.remove_prefix(1);
    }
    const std::size_t length =
        static_cast<std::size_t>(std::ranges::find_if(bytes, is_blank) - bytes.begin());
    std::uint64_t value = 0;  // 12 octal digits are 36 bits
    for (const char digit : bytes.substr(0, length)) {
        if (digit < '0' || digit > '7') {
            return std::nullopt;
        }
        value = value * 8 + static_cast<std::uint64_t>(digit - '0');
    }
    return static_cast<std::int64_t>(value);
}

Result<std::int64_t> number_in(Header header, Field field, std::string_view name) {
    const std::optional<std::int64_t> value = number_of(bytes_of(header, field));
    if (!value) {
        return damaged(std::string(name) + " is no number");
    }
    return *value;
}

template <typename T>
Result<T> narrowed(std::int64_t value, std::string_view name) {
    if (value < 0 || static_cast<std::uint64_t>(value) > std::numeric_limits<T>::max()) {
        return Error(Code::Unsupported,
                     std::string(name) + " " + std::to_string(value) + " is out of range");
    }
    return static_cast<T>(value);
}

bool checksum_is_right(Header header) {
    const std::optional<std::int64_t> stored = number_of(bytes_of(header, kChecksum));
    std::int64_t as_unsigned = 0;
    std::int64_t as_signed = 0;  // as some old programs have it
    for (std::size_t i = 0; i < header.size(); ++i) {
        const bool is_sum = i >= kChecksum.offset && i < kChecksum.offset + kChecksum.length;
        const auto byte = is_sum ? std::uint8_t{' '} : std::to_integer<std::uint8_t>(header[i]);
        as_unsigned += byte;
        as_signed += static_cast<std::int8_t>(byte);
    }
    return stored && (*stored == as_unsigned || *stored == as_signed);
}

bool is_zero(Header header) {
    return std::ranges::all_of(header, [](std::byte byte) { return byte == std::byte{0}; });
}

template <typename T>
std::optional<T> decimal(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
        return std::nullopt;
    }
    return value;
}

/// "-1.5": seconds, rounded down, and nanoseconds.
bool parse_time(std::string_view text, TarEntry& entry) {
    const std::size_t point = text.find('.');
    const bool is_negative = text.starts_with('-');
    const std::string_view whole = text.substr(0, point);
    const std::optional<std::int64_t> seconds = whole.empty() || whole == "-"
                                                    ? std::optional<std::int64_t>(0)
                                                    : decimal<std::int64_t>(whole);
    std::string_view fraction = point == std::string_view::npos ? "" : text.substr(point + 1);
    if (!seconds || (whole.empty() && fraction.empty()) ||
        !std::ranges::all_of(fraction, [](char c) { return c >= '0' && c <= '9'; })) {
        return false;
    }
    std::uint32_t nanoseconds = 0;
    for (std::size_t i = 0; i < 9; ++i) {
        nanoseconds = nanoseconds * 10 +
                      (i < fraction.size() ? static_cast<std::uint32_t>(fraction[i] - '0') : 0);
    }
    entry.mtime = *seconds;
    entry.mtime_ns = nanoseconds;
    if (is_negative && nanoseconds != 0) {
        if (*seconds == std::numeric_limits<std::int64_t>::min()) {
            return false;
        }
        entry.mtime = *seconds - 1;
        entry.mtime_ns = 1'000'000'000 - nanoseconds;
    }
    return true;
}

/// One more run of stored bytes, behind the others and inside the file.
Result<void> add_extent(std::vector<TarEntry::Extent>& extents, std::uint64_t offset,
                        std::uint64_t length) {
    constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
    if (offset > most || length > most - offset) {
        return damaged("a sparse file's map is out of range");
    }
    if (length == 0) {
        return {};  // where the file ends
    }
    if (!extents.empty() && offset < extents.back().offset + extents.back().length) {
        return damaged("a sparse file's map overlaps itself");
    }
    if (extents.size() == ImageLimits::kSparseExtentsMax) {
        return Error(Code::ResourceExhausted, "a sparse file has more than " +
                                                  std::to_string(ImageLimits::kSparseExtentsMax) +
                                                  " pieces");
    }
    extents.push_back({.offset = offset, .length = length});
    return {};
}

Result<void> check_sparse(const TarEntry& entry, std::span<const TarEntry::Extent> extents) {
    std::uint64_t stored = 0;
    for (const TarEntry::Extent& extent : extents) {
        stored += extent.length;  // extents do not overlap, so no sum wraps
        if (extent.offset + extent.length > entry.size) {
            return damaged("a sparse file's map passes its end");
        }
    }
    if (stored != entry.stored_size) {
        return damaged("a sparse file's map does not fit its data");
    }
    return {};
}

std::optional<TarEntry::Type> type_of(char flag) {
    using enum TarEntry::Type;
    switch (flag) {
        case '\0':
        case '0':
        case '7':  // contiguous
        case 'S':  // GNU sparse
            return Regular;
        case '1':
            return HardLink;
        case '2':
            return Symlink;
        case '3':
            return Character;
        case '4':
            return Block;
        case '5':
            return Directory;
        case '6':
            return Fifo;
        default:
            return std::nullopt;
    }
}

Result<void> read_names(TarEntry& entry, Header header, std::string_view magic) {
    entry.path = text_of(header, kName);
    entry.link = text_of(header, kLinkName);
    if (magic.starts_with(std::string_view("ustar\0", 6))) {
        const bool is_star = bytes_of(header, kStarTrailer) == std::string_view("tar\0", 4);
        const std::string prefix = text_of(header, is_star ? kStarPrefix : kPrefix);
        if (!prefix.empty()) {
            entry.path = prefix + "/" + entry.path;
        }
    }
    return {};
}

Result<void> read_numbers(TarEntry& entry, Header header, bool has_devices) {
    entry.mode = static_cast<std::uint32_t>(TRY(number_in(header, kMode, "the mode"))) & 07777U;
    entry.uid = TRY(narrowed<std::uint32_t>(TRY(number_in(header, kUid, "the uid")), "uid"));
    entry.gid = TRY(narrowed<std::uint32_t>(TRY(number_in(header, kGid, "the gid")), "gid"));
    entry.mtime = TRY(number_in(header, kMtime, "the time"));
    const std::int64_t size = TRY(number_in(header, kSize, "the size"));
    if (size < 0) {
        return damaged("a size is negative");
    }
    entry.stored_size = static_cast<std::uint64_t>(size);
    const bool is_device =
        entry.type == TarEntry::Type::Character || entry.type == TarEntry::Type::Block;
    if (has_devices && is_device) {
        entry.major = TRY(narrowed<std::uint32_t>(
            TRY(number_in(header, kMajor, "the device's major number")), "major number"));
        entry.minor = TRY(narrowed<std::uint32_t>(
            TRY(number_in(header, kMinor, "the device's minor number")), "minor number"));
    }
    return {};
}

/// The next line of decimal digits in a sparse map.
std::optional<std::uint64_t> take_line(std::string& text, std::size_t& at) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) {
        return std::nullopt;
    }
    const auto value = decimal<std::uint64_t>(std::string_view(text).substr(at, end - at));
    at = value ? end + 1 : at;
    return value;
}

}  // namespace

TarReader::TarReader(ByteSource& source, Kind kind, OnHeader on_header)
    : source_(source), kind_(kind), on_header_(std::move(on_header)), buffer_(kBufferSize) {}

Result<std::size_t> TarReader::take(std::span<std::byte> into) {
    if (begin_ == end_) {
        if (into.size() >= buffer_.size()) {
            const std::size_t count = TRY(source_.read(into));
            position_ += count;
            return count;
        }
        begin_ = 0;
        end_ = 0;
        end_ = TRY(source_.read(buffer_));
    }
    const std::size_t count = std::min(into.size(), end_ - begin_);
    std::ranges::copy(std::span(buffer_).subspan(begin_, count), into.begin());
    begin_ += count;
    position_ += count;
    return count;
}

Result<void> TarReader::pass_header(std::span<const std::byte> bytes) {
    header_bytes_ += bytes.size();
    if (header_bytes_ > ImageLimits::kTarHeadersMax) {
        return Error(Code::ResourceExhausted, "the tar archive's headers pass " +
                                                  std::to_string(ImageLimits::kTarHeadersMax) +
                                                  " bytes");
    }
    if (on_header_) {
        TRY(on_header_(bytes));
    }
    return {};
}

Result<bool> TarReader::read_block(std::span<std::byte, kBlock> into) {
    std::size_t filled = 0;
    while (filled < into.size()) {
        const std::size_t count = TRY(take(into.subspan(filled)));
        if (count == 0) {
            break;
        }
        filled += count;
    }
    TRY(pass_header(into.first(filled)));
    if (filled != 0 && filled < into.size()) {
        return truncated();
    }
    return filled != 0;
}

Result<void> TarReader::skip_rest() {
    std::array<std::byte, std::size_t{8} << 10U> space{};
    if (kind_ == Kind::Skeleton) {
        data_left_ = 0;
    }
    while (data_left_ != 0) {
        (void)TRY(read(space));
    }
    while (padding_left_ != 0) {
        const std::span<std::byte> into = std::span(space).first(padding_left_);
        const std::size_t count = TRY(take(into));
        if (count == 0) {
            return truncated();
        }
        TRY(pass_header(into.first(count)));
        padding_left_ -= count;
    }
    return {};
}

Result<std::size_t> TarReader::read(std::span<std::byte> into) {
    const std::size_t most = std::min<std::uint64_t>(into.size(), data_left_);
    if (most == 0) {
        return std::size_t{0};
    }
    const std::size_t count = TRY(take(into.first(most)));
    if (count == 0) {
        return truncated();
    }
    data_left_ -= count;
    return count;
}

/// What a header entry (PAX, long name) holds, with its padding.
Result<std::string> TarReader::read_text(std::uint64_t size) {
    if (size > ImageLimits::kTarHeaderMax) {
        return Error(
            Code::ResourceExhausted,
            "a tar header has more than " + std::to_string(ImageLimits::kTarHeaderMax) + " bytes");
    }
    std::string text;
    for (std::uint64_t read = 0; read < size; read += kBlock) {
        Block block{};
        if (!TRY(read_block(block))) {
            return truncated();
        }
        // SAFETY: bytes seen as characters.
        text.append(reinterpret_cast<const char*>(block.data()), kBlock);
    }
    text.resize(size);
    return text;
}

/// Records "LENGTH KEY=VALUE\n", whose length counts itself.
Result<TarReader::Pax> TarReader::parse_pax(std::string_view text) {
    Pax pax;
    std::optional<std::uint64_t> offset;
    while (!text.empty()) {
        const std::size_t space = text.find(' ');
        const auto length = space == std::string_view::npos
                                ? std::nullopt
                                : decimal<std::size_t>(text.substr(0, space));
        if (!length || *length <= space + 1 || *length > text.size() || text[*length - 1] != '\n') {
            return damaged("a PAX record has a wrong length");
        }
        const std::string_view record = text.substr(space + 1, *length - space - 2);
        const std::size_t equals = record.find('=');
        if (equals == std::string_view::npos || equals == 0) {
            return damaged("a PAX record has no name");
        }
        const std::string_view key = record.substr(0, equals);
        const std::string_view value = record.substr(equals + 1);
        text.remove_prefix(*length);
        if (key == "GNU.sparse.offset" || key == "GNU.sparse.numbytes") {
            const auto number = decimal<std::uint64_t>(value);
            const bool is_offset = key == "GNU.sparse.offset";
            if (!number || is_offset == offset.has_value()) {
                return damaged("a sparse file's map");
            }
            if (!is_offset) {
                TRY(add_extent(pax.extents, *offset, *number));
            }
            offset = is_offset ? number : std::nullopt;
        }
        pax.records.insert_or_assign(std::string(key), std::string(value));
    }
    return pax;
}

Result<void> TarReader::apply_pax(TarEntry& entry, const Pax& pax) {
    constexpr std::string_view xattr = "SCHILY.xattr.";
    for (const auto& [key, value] : pax.records) {
        if (key.starts_with(xattr)) {
            entry.xattrs.insert_or_assign(key.substr(xattr.size()), value);
            continue;
        }
        if (value.empty()) {
            continue;  // an empty value takes the record back
        }
        bool is_right = true;
        if (key == "path") {
            entry.path = value;
        } else if (key == "linkpath") {
            entry.link = value;
        } else if (key == "size") {
            const auto size = decimal<std::int64_t>(value);
            is_right = size && *size >= 0;
            entry.stored_size = static_cast<std::uint64_t>(size.value_or(0));
        } else if (key == "uid" || key == "gid") {
            const auto id = decimal<std::int64_t>(value);
            is_right = id.has_value();
            (key == "uid" ? entry.uid : entry.gid) =
                TRY(narrowed<std::uint32_t>(id.value_or(0), key));
        } else if (key == "mtime") {
            is_right = parse_time(value, entry);
        }
        if (!is_right) {
            return damaged("PAX record '" + printable(key) + "'");
        }
    }
    return {};
}

Result<void> TarReader::apply_sparse_pax(TarEntry& entry, const Pax& pax) {
    const auto find = [&](std::string_view key) -> std::optional<std::string_view> {
        const auto found = pax.records.find(key);
        return found == pax.records.end() ? std::nullopt
                                          : std::optional<std::string_view>(found->second);
    };
    const auto map = find("GNU.sparse.map");
    const bool has_map_in_data = find("GNU.sparse.major") == "1" && find("GNU.sparse.minor") == "0";
    if (!map && pax.extents.empty() && !find("GNU.sparse.size") && !has_map_in_data) {
        return {};
    }
    if (const auto name = find("GNU.sparse.name"); name && !name->empty()) {
        entry.path = *name;
    }
    const auto size_text = has_map_in_data ? find("GNU.sparse.realsize") : find("GNU.sparse.size");
    const auto size = decimal<std::int64_t>(size_text.value_or(""));
    if (!size || *size < 0) {
        return damaged("a sparse file's size");
    }
    entry.size = static_cast<std::uint64_t>(*size);
    entry.extents = pax.extents;
    if (map) {
        entry.extents->clear();
        std::string text = std::string(*map) + ",";
        std::ranges::replace(text, ',', '\n');
        for (std::size_t at = 0; at < text.size() && text != "\n";) {
            const auto offset = take_line(text, at);
            const auto length = offset ? take_line(text, at) : std::nullopt;
            if (!length) {
                return damaged("a sparse file's map");
            }
            TRY(add_extent(*entry.extents, *offset, *length));
        }
    }
    if (has_map_in_data) {
        TRY(read_sparse_map(entry));
    }
    return check_sparse(entry, *entry.extents);
}

/// Format 1.0: the map is in front of the data, in whole blocks of decimal lines.
Result<void> TarReader::read_sparse_map(TarEntry& entry) {
    std::string text;
    std::size_t at = 0;
    const auto next_number = [&]() -> Result<std::uint64_t> {
        for (;;) {
            if (const auto number = take_line(text, at)) {
                return *number;
            }
            // No number is longer than 20 digits, so what is left without an end is no number.
            if (text.size() - at > 20 || entry.stored_size < kBlock) {
                return damaged("a sparse file's map");
            }
            text.erase(0, at);
            at = 0;
            text += TRY(read_text(kBlock));
            entry.stored_size -= kBlock;
        }
    };
    entry.extents.emplace();
    const std::uint64_t count = TRY(next_number());
    if (count > ImageLimits::kSparseExtentsMax) {
        return Error(Code::ResourceExhausted,
                     "a sparse file has " + std::to_string(count) + " pieces");
    }
    for (std::uint64_t i = 0; i < count; ++i) {
        const std::uint64_t offset = TRY(next_number());
        TRY(add_extent(*entry.extents, offset, TRY(next_number())));
    }
    return {};
}

/// GNU's format before PAX: the map is in the header, and in blocks behind it.
Result<void> TarReader::read_old_sparse(TarEntry& entry, Header header) {
    const std::int64_t size = TRY(number_in(header, kSparseRealSize, "a sparse file's size"));
    if (size < 0) {
        return damaged("a sparse file's size");
    }
    entry.size = static_cast<std::uint64_t>(size);
    entry.extents.emplace();
    const auto add = [&](Header from, std::size_t begin, std::size_t count) -> Result<void> {
        for (std::size_t i = 0; i < count; ++i) {
            const Field offset{.offset = begin + i * 24, .length = 12};
            const Field length{.offset = offset.offset + 12, .length = 12};
            if (bytes_of(from, offset).front() == '\0') {
                return {};
            }
            const std::int64_t at = TRY(number_in(from, offset, "a sparse file's map"));
            const std::int64_t bytes = TRY(number_in(from, length, "a sparse file's map"));
            if (at < 0 || bytes < 0) {
                return damaged("a sparse file's map");
            }
            TRY(add_extent(*entry.extents, static_cast<std::uint64_t>(at),
                           static_cast<std::uint64_t>(bytes)));
        }
        return {};
    };
    TRY(add(header, kSparseEntries, kSparseEntriesCount));
    bool is_extended = header[kSparseIsExtended] != std::byte{0};
    for (std::size_t blocks = 0; is_extended; ++blocks) {
        Block block{};
        if (blocks * kSparseMoreCount > ImageLimits::kSparseExtentsMax) {
            return damaged("a sparse file's map has no end");
        }
        if (!TRY(read_block(block))) {
            return truncated();
        }
        TRY(add(block, 0, kSparseMoreCount));
        is_extended = block[kSparseMoreIsExtended] != std::byte{0};
    }
    return check_sparse(entry, *entry.extents);
}

Result<TarEntry> TarReader::entry_of(Header header, const Pax& pax,
                                     std::optional<std::string> long_name,
                                     std::optional<std::string> long_link) {
    TarEntry entry;
    const char flag = static_cast<char>(header[kTypeFlag]);
    const std::optional<TarEntry::Type> type = type_of(flag);
    const std::string_view magic = bytes_of(header, kMagic);
    TRY(read_names(entry, header, magic));
    entry.path = std::move(long_name).value_or(std::move(entry.path));
    entry.link = std::move(long_link).value_or(std::move(entry.link));
    if (!type) {
        return Error(Code::Unsupported, "tar entry '" + printable(entry.path) + "' has type '" +
                                            printable(std::string_view(&flag, 1)) + "'");
    }
    entry.type = *type;
    TRY(read_numbers(entry, header, magic.starts_with("ustar")), "tar entry '",
        printable(entry.path), "'");
    TRY(apply_pax(entry, pax), "tar entry '", printable(entry.path), "'");
    if (flag == '\0' && entry.path.ends_with('/')) {
        entry.type = TarEntry::Type::Directory;  // V7 has no other way to say it
    }
    if (entry.type != TarEntry::Type::Regular) {
        entry.stored_size = 0;  // as all container tools read it (Go archive/tar, isHeaderOnly)
    }
    entry.size = entry.stored_size;
    padding_left_ = (kBlock - entry.stored_size % kBlock) % kBlock;
    if (flag == 'S') {
        TRY(read_old_sparse(entry, header), "tar entry '", printable(entry.path), "'");
    } else if (entry.type == TarEntry::Type::Regular) {
        TRY(apply_sparse_pax(entry, pax), "tar entry '", printable(entry.path), "'");
    }
    if (entry.stored_size > ImageLimits::kLayerMax.value() ||
        entry.size > ImageLimits::kLayerMax.value()) {
        return Error(Code::ResourceExhausted,
                     "tar entry '" + printable(entry.path) + "' is larger than a layer may be");
    }
    data_left_ = entry.stored_size;
    return entry;
}

Result<std::optional<TarEntry>> TarReader::next() {
    TRY(skip_rest());
    Pax pax;
    std::optional<std::string> long_name;
    std::optional<std::string> long_link;
    for (;;) {
        Block block{};
        if (!TRY(read_block(block))) {
            return std::optional<TarEntry>();  // without the two blocks of zeros; Go takes that too
        }
        if (is_zero(block)) {
            return std::optional<TarEntry>();
        }
        if (!checksum_is_right(block)) {
            return damaged("a header's checksum is wrong");
        }
        if (++entries_ > 4 * ImageLimits::kEntriesMax) {
            return Error(Code::ResourceExhausted, "the tar archive has too many headers");
        }
        const char flag = static_cast<char>(block[kTypeFlag]);
        const bool is_text = flag == 'x' || flag == 'g' || flag == 'L' || flag == 'K';
        if (!is_text) {
            return std::optional(
                TRY(entry_of(block, pax, std::move(long_name), std::move(long_link))));
        }
        const std::int64_t size = TRY(number_in(block, kSize, "the size"));
        std::string text = TRY(read_text(static_cast<std::uint64_t>(size)));
        if (flag == 'x') {
            pax = TRY(parse_pax(text));
        } else if (flag == 'L' || flag == 'K') {
            text.resize(std::min(text.size(), text.find('\0')));
            (flag == 'L' ? long_name : long_link) = std::move(text);
        }
    }
}

Result<void> TarReader::finish() {
    std::vector<std::byte> rest(kBufferSize);
    for (;;) {
        const std::size_t count = TRY(take(rest));
        if (count == 0) {
            return {};
        }
        TRY(pass_header(std::span(rest).first(count)));
    }
}

}  // namespace pepita::storage::image
