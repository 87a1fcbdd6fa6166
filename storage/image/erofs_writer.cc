// EROFS metadata, written in three passes over the inodes in the order in which they are on disk.
//
// The order is breadth first, and begins with the root, whose number has only 16 bits. The files of
// a directory follow each other. The first pass gives each inode its place (its number is its place
// in units of 32 bytes): the inode, its extended attributes, then its tail: what is left of a
// directory behind whole blocks, or a symbolic link's target. A tail may not cross a block: where
// it would, the inode moves to the next one. The second pass gives blocks to what is not inline,
// behind all inodes. Only then the size of the metadata is known, and with it the block at which
// the layers' data begin, so the third pass writes.
#include "storage/image/erofs_writer.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "storage/image/erofs_format.h"
#include "storage/image/image_tree.h"
#include "storage/image/layer_layout.h"
#include "storage/image/tar_reader.h"

namespace pepita::storage::image {
namespace {

using NodeId = ImageTree::NodeId;
using Node = ImageTree::Node;
using Type = TarEntry::Type;

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t unit) {
    return (value + unit - 1) / unit * unit;
}

struct TypeOnDisk {
    std::uint16_t mode;
    std::uint8_t file_type;
};

TypeOnDisk on_disk(Type type) {
    switch (type) {
        case Type::Directory:
            return {.mode = S_IFDIR, .file_type = 2};
        case Type::Character:
            return {.mode = S_IFCHR, .file_type = 3};
        case Type::Block:
            return {.mode = S_IFBLK, .file_type = 4};
        case Type::Fifo:
            return {.mode = S_IFIFO, .file_type = 5};
        case Type::Symlink:
            return {.mode = S_IFLNK, .file_type = 7};
        case Type::Regular:
        case Type::HardLink:
            break;
    }
    return {.mode = S_IFREG, .file_type = 1};
}

struct XattrName {
    std::uint8_t index;
    std::string_view rest;
};

/// The part of a name that a number stands for. ImageTree has kept only names that have one.
XattrName split_xattr_name(std::string_view name) {
    struct Prefix {
        std::string_view text;
        std::uint8_t index;
    };
    constexpr std::array prefixes{
        Prefix{.text = "user.", .index = 1},
        Prefix{.text = "system.posix_acl_access", .index = 2},
        Prefix{.text = "system.posix_acl_default", .index = 3},
        Prefix{.text = "trusted.", .index = 4},
        Prefix{.text = "security.", .index = 6},
    };
    for (const Prefix& prefix : prefixes) {
        if (name.starts_with(prefix.text)) {
            return {.index = prefix.index, .rest = name.substr(prefix.text.size())};
        }
    }
    return {.index = 0, .rest = name};
}

std::uint64_t xattr_bytes(const Node& node) {
    if (node.xattrs == nullptr) {
        return 0;
    }
    std::uint64_t size = sizeof(erofs::XattrHeader);
    for (const auto& [name, value] : *node.xattrs) {
        size += round_up(
            sizeof(erofs::XattrEntry) + split_xattr_name(name).rest.size() + value.size(), 4);
    }
    return size;
}

/// CRC32C, as the superblock's checksum has it: not inverted at the end.
std::uint32_t crc32c(std::span<const std::byte> bytes) {
    std::uint32_t crc = ~0U;
    for (const std::byte byte : bytes) {
        crc ^= std::to_integer<std::uint32_t>(byte);
        for (int bit = 0; bit < 8; ++bit) {
            crc = crc >> 1U ^ ((crc & 1U) != 0 ? 0x82f63b78U : 0);
        }
    }
    return crc;
}

/// The names of a directory in the order of its blocks. "." and ".." take part in it.
struct Name {
    std::string_view text;
    NodeId node;
};

std::vector<Name> sorted_names(const Node& directory, NodeId self) {
    std::vector<Name> names;
    names.reserve(directory.children->size() + 2);
    for (const auto& [name, id] : *directory.children) {
        names.push_back({.text = name, .node = id});
    }
    const auto put = [&](std::string_view text, NodeId id) {
        // Bytes are unsigned in char_traits<char>::compare, as the kernel has it.
        names.insert(std::ranges::lower_bound(names, text, {}, &Name::text),
                     {.text = text, .node = id});
    };
    put(".", self);
    put("..", directory.parent);
    return names;
}

/// The number of the names that fit in one block.
std::size_t names_in_block(std::span<const Name> names) {
    std::size_t used = 0;
    std::size_t count = 0;
    while (count < names.size()) {
        used += erofs::DirectoryEntry::kSize + names[count].text.size();
        if (used > kErofsBlock) {
            break;
        }
        ++count;
    }
    return count;
}

std::uint64_t bytes_of_names(std::span<const Name> names) {
    std::uint64_t size = names.size() * erofs::DirectoryEntry::kSize;
    for (const Name& name : names) {
        size += name.text.size();
    }
    return size;
}

std::uint64_t directory_size(std::span<const Name> names) {
    std::uint64_t size = 0;
    for (;;) {
        const std::size_t count = names_in_block(names);
        if (count == names.size()) {
            return size + bytes_of_names(names);
        }
        size += kErofsBlock;
        names = names.subspan(count);
    }
}

class Writer {
public:
    Writer(const ImageTree& tree, std::span<const std::uint64_t> layer_blocks)
        : tree_(tree), layer_begin_(layer_blocks.size()) {
        for (std::size_t i = 0; i < layer_blocks.size(); ++i) {
            layer_begin_[i] = data_blocks_;
            data_blocks_ += layer_blocks[i];
        }
    }

    Result<std::vector<std::byte>> write(const std::array<std::uint8_t, 16>& uuid) {
        order_nodes();
        place_inodes();
        place_blocks();
        if (meta_blocks_ + data_blocks_ > UINT32_MAX) {
            return Error(Code::OutOfRange, "the image has more blocks than EROFS has numbers for");
        }
        bytes_.resize(meta_blocks_ * kErofsBlock);
        std::uint32_t number = 0;
        for (const NodeId id : order_) {
            write_inode(id, ++number);
        }
        write_superblock(uuid);
        return std::move(bytes_);
    }

private:
    static constexpr std::uint64_t kNowhere = 0;  // the superblock's: no inode's place

    struct Place {
        std::uint64_t at = kNowhere;  // in bytes
        std::uint64_t size = 0;
        std::uint64_t block = 0;  // of what is not inline
        std::uint32_t inline_bytes = 0;
        erofs::DataLayout layout = erofs::DataLayout::FlatPlain;
    };

    Place& place(NodeId id) { return places_[static_cast<std::size_t>(id)]; }

    void order_nodes() {
        order_.push_back(ImageTree::kRoot);
        std::vector<NodeId> directories{ImageTree::kRoot};
        std::vector<bool> is_seen{true};
        for (std::size_t i = 0; i < directories.size(); ++i) {
            for (const auto& [name, id] : *tree_.node(directories[i]).children) {
                const auto index = static_cast<std::size_t>(id);
                if (index >= is_seen.size()) {
                    is_seen.resize(index + 1);
                }
                if (is_seen[index]) {
                    continue;  // another name of it
                }
                is_seen[index] = true;
                order_.push_back(id);
                if (tree_.node(id).type == Type::Directory) {
                    directories.push_back(id);
                }
            }
        }
        places_.resize(is_seen.size());
    }

    void place_inodes() {
        std::uint64_t next = erofs::kSuperblockAt + sizeof(erofs::Superblock);
        for (const NodeId id : order_) {
            const Node& node = tree_.node(id);
            Place& here = place(id);
            here.size =
                node.type == Type::Directory ? directory_size(sorted_names(node, id)) : node.size;
            const std::uint64_t head = sizeof(erofs::ExtendedInode) + xattr_bytes(node);
            std::uint64_t tail = 0;
            if (node.type == Type::Directory || node.type == Type::Symlink) {
                tail = here.size % kErofsBlock;
            }
            next = round_up(next, erofs::kInodeSlot);
            if (tail != 0 && head % kErofsBlock + tail <= kErofsBlock) {
                here.layout = erofs::DataLayout::FlatInline;
                here.inline_bytes = static_cast<std::uint32_t>(tail);
                const std::uint64_t begin = (next + head) % kErofsBlock;
                if (begin + tail > kErofsBlock) {
                    next = round_up(next, kErofsBlock);
                }
            }
            here.at = next;
            next += head + here.inline_bytes;
        }
        inode_end_ = next;
    }

    void place_blocks() {
        std::uint64_t next = blocks_for(inode_end_);
        for (const NodeId id : order_) {
            const Type type = tree_.node(id).type;
            Place& here = place(id);
            if (type == Type::Directory || type == Type::Symlink) {
                here.block = next;
                next += blocks_for(here.size - here.inline_bytes);
            }
        }
        meta_blocks_ = next;
    }

    template <typename T>
    void put(std::uint64_t at, const T& value) {
        // SAFETY: resized to hold all places, and T is plain bytes.
        std::memcpy(&bytes_[at], &value, sizeof(T));
    }
    void put_text(std::uint64_t at, std::string_view text) {
        std::ranges::copy(std::as_bytes(std::span(text)),
                          bytes_.begin() + static_cast<std::ptrdiff_t>(at));
    }

    void write_inode(NodeId id, std::uint32_t number) {
        const Node& node = tree_.node(id);
        const Place& here = place(id);
        const std::uint64_t xattrs = xattr_bytes(node);
        erofs::ExtendedInode inode{};
        inode.i_format = erofs::format_of(here.layout);
        inode.i_xattr_icount = static_cast<std::uint16_t>(
            xattrs == 0 ? 0 : (xattrs - sizeof(erofs::XattrHeader)) / 4 + 1);
        inode.i_mode = static_cast<std::uint16_t>(on_disk(node.type).mode | node.mode);
        inode.i_size = here.size;
        inode.i_ino = number;
        inode.i_uid = node.uid;
        inode.i_gid = node.gid;
        inode.i_mtime = node.mtime;
        inode.i_mtime_nsec = node.mtime_ns;
        inode.i_nlink = node.links;
        inode.i_u = start_of(node, here);
        put(here.at, inode);
        write_xattrs(node, here.at + sizeof(inode));
        const std::uint64_t tail = here.at + sizeof(inode) + xattrs;
        if (node.type == Type::Directory) {
            write_directory(id, tail);
        } else if (node.type == Type::Symlink) {
            put_text(here.inline_bytes != 0 ? tail : here.block * kErofsBlock, node.target);
        }
    }

    std::uint32_t start_of(const Node& node, const Place& here) const {
        switch (node.type) {
            case Type::Character:
            case Type::Block:
                return erofs::device_number(node.major, node.minor);
            case Type::Directory:
            case Type::Symlink:
                return static_cast<std::uint32_t>(here.block);
            case Type::Regular:
                return node.size == 0 ? 0
                                      : static_cast<std::uint32_t>(
                                            meta_blocks_ + layer_begin_[node.layer] + node.block);
            case Type::Fifo:
            case Type::HardLink:
                break;
        }
        return 0;
    }

    void write_xattrs(const Node& node, std::uint64_t at) {
        if (node.xattrs == nullptr) {
            return;
        }
        put(at, erofs::XattrHeader{});
        at += sizeof(erofs::XattrHeader);
        for (const auto& [name, value] : *node.xattrs) {
            const XattrName split = split_xattr_name(name);
            put(at, erofs::XattrEntry{.e_name_len = static_cast<std::uint8_t>(split.rest.size()),
                                      .e_name_index = split.index,
                                      .e_value_size = static_cast<std::uint16_t>(value.size())});
            put_text(at + sizeof(erofs::XattrEntry), split.rest);
            put_text(at + sizeof(erofs::XattrEntry) + split.rest.size(), value);
            at += round_up(sizeof(erofs::XattrEntry) + split.rest.size() + value.size(), 4);
        }
    }

    void write_directory(NodeId id, std::uint64_t tail) {
        const std::vector<Name> all = sorted_names(tree_.node(id), id);
        std::span<const Name> names = all;
        std::uint64_t block = place(id).block * kErofsBlock;
        while (!names.empty()) {
            const std::size_t count = names_in_block(names);
            const bool is_tail = count == names.size() && place(id).inline_bytes != 0;
            write_names(names.first(count), is_tail ? tail : block);
            names = names.subspan(count);
            block += kErofsBlock;
        }
    }

    void write_names(std::span<const Name> names, std::uint64_t begin) {
        std::uint64_t entry = begin;
        std::uint64_t offset = names.size() * erofs::DirectoryEntry::kSize;
        for (const Name& name : names) {
            put(entry, place(name.node).at / erofs::kInodeSlot);
            put(entry + 8, static_cast<std::uint16_t>(offset));
            put(entry + 10, on_disk(tree_.node(name.node).type).file_type);
            put_text(begin + offset, name.text);
            entry += erofs::DirectoryEntry::kSize;
            offset += name.text.size();
        }
    }

    void write_superblock(const std::array<std::uint8_t, 16>& uuid) {
        erofs::Superblock superblock{};
        superblock.magic = erofs::kMagic;
        superblock.feature_compat = erofs::kCompatChecksum | erofs::kCompatMtime;
        superblock.blkszbits = erofs::kBlockBits;
        superblock.root_nid =
            static_cast<std::uint16_t>(place(ImageTree::kRoot).at / erofs::kInodeSlot);
        superblock.inos = order_.size();
        superblock.blocks = static_cast<std::uint32_t>(meta_blocks_ + data_blocks_);
        superblock.uuid = uuid;
        put(erofs::kSuperblockAt, superblock);
        const std::span<const std::byte> summed =
            std::span(bytes_).first(kErofsBlock).subspan(erofs::kSuperblockAt);
        superblock.checksum = crc32c(summed);
        put(erofs::kSuperblockAt, superblock);
    }

    const ImageTree& tree_;
    std::vector<std::uint64_t> layer_begin_;  // in blocks of all data
    std::uint64_t data_blocks_ = 0;
    std::vector<NodeId> order_;
    std::vector<Place> places_;  // by node
    std::uint64_t inode_end_ = 0;
    std::uint64_t meta_blocks_ = 0;
    std::vector<std::byte> bytes_;
};

}  // namespace

Result<std::vector<std::byte>> write_erofs(const ImageTree& tree,
                                           std::span<const std::uint64_t> layer_blocks,
                                           const std::array<std::uint8_t, 16>& uuid) {
    return Writer(tree, layer_blocks).write(uuid);
}

}  // namespace pepita::storage::image
