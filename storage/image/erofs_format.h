#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace pepita::storage::image::erofs {

// What Linux reads, all of it little endian as this program is (fs/erofs/erofs_fs.h, 6.12). Only
// what an image without compression, chunks and extra devices needs.

inline constexpr std::uint64_t kSuperblockAt = 1024;
inline constexpr std::uint32_t kMagic = 0xe0f5e1e2;
inline constexpr std::uint32_t kCompatChecksum = 0x1;
inline constexpr std::uint32_t kCompatMtime = 0x2;
inline constexpr std::uint8_t kBlockBits = 12;

struct Superblock {
    std::uint32_t magic;
    std::uint32_t checksum;
    std::uint32_t feature_compat;
    std::uint8_t blkszbits;
    std::uint8_t sb_extslots;
    std::uint16_t root_nid;
    std::uint64_t inos;
    std::uint64_t build_time;
    std::uint32_t build_time_nsec;
    std::uint32_t blocks;
    std::uint32_t meta_blkaddr;
    std::uint32_t xattr_blkaddr;
    std::array<std::uint8_t, 16> uuid;
    std::array<char, 16> volume_name;
    std::uint32_t feature_incompat;
    std::array<std::uint8_t, 44> reserved;
};
static_assert(sizeof(Superblock) == 128);
static_assert(offsetof(Superblock, inos) == 16 && offsetof(Superblock, blocks) == 36 &&
              offsetof(Superblock, uuid) == 48 && offsetof(Superblock, feature_incompat) == 80);

/// Where an inode's bytes are: elsewhere, from a block on; or whole blocks elsewhere, and what is
/// left behind the inode.
enum class DataLayout : std::uint16_t { FlatPlain = 0, FlatInline = 2 };

inline constexpr std::uint16_t kExtendedInode = 1;
inline constexpr std::uint64_t kInodeSlot = 32;

constexpr std::uint16_t format_of(DataLayout layout) {
    return static_cast<std::uint16_t>(kExtendedInode | static_cast<std::uint16_t>(layout) << 1U);
}

struct ExtendedInode {
    std::uint16_t i_format;
    std::uint16_t i_xattr_icount;
    std::uint16_t i_mode;
    std::uint16_t i_reserved;
    std::uint64_t i_size;
    std::uint32_t i_u;  // raw_blkaddr, or rdev
    std::uint32_t i_ino;
    std::uint32_t i_uid;
    std::uint32_t i_gid;
    std::int64_t i_mtime;
    std::uint32_t i_mtime_nsec;
    std::uint32_t i_nlink;
    std::array<std::uint8_t, 16> i_reserved2;
};
static_assert(sizeof(ExtendedInode) == 64);
static_assert(offsetof(ExtendedInode, i_size) == 8 && offsetof(ExtendedInode, i_mtime) == 32 &&
              offsetof(ExtendedInode, i_nlink) == 44);

struct XattrHeader {
    std::uint32_t h_name_filter;
    std::uint8_t h_shared_count;
    std::array<std::uint8_t, 7> h_reserved2;
};
static_assert(sizeof(XattrHeader) == 12);

struct XattrEntry {
    std::uint8_t e_name_len;
    std::uint8_t e_name_index;
    std::uint16_t e_value_size;
};
static_assert(sizeof(XattrEntry) == 4);

/// Packed to 12 bytes on disk; written member by member.
struct DirectoryEntry {
    static constexpr std::size_t kSize = 12;
    std::uint64_t nid;
    std::uint16_t nameoff;
    std::uint8_t file_type;
};

/// Linux include/linux/kdev_t.h, new_encode_dev.
constexpr std::uint32_t device_number(std::uint32_t major, std::uint32_t minor) {
    return (minor & 0xffU) | major << 8U | (minor & ~0xffU) << 12U;
}

}  // namespace pepita::storage::image::erofs
