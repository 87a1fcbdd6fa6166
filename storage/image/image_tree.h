#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "storage/image/layer_layout.h"
#include "storage/image/tar_reader.h"

namespace pepita::storage::image {

/// The files of an image: its layers one upon the other, as OCI image-spec, layer.md, says it.
///
/// What is not written there is done as containerd does it: a name whose parent is a symbolic link
/// goes where that leads, never above the root; parents that no entry makes are directories of
/// root's with mode 0755; a directory upon a directory keeps what is in it.
class ImageTree {
public:
    enum class NodeId : std::uint32_t {};

    /// A name's way down, for lookups.
    using Children = std::map<std::string, NodeId, std::less<>>;
    using Xattrs = std::map<std::string, std::string>;

    /// An inode. Hard links are several names of one node.
    struct Node {
        TarEntry::Type type = TarEntry::Type::Regular;  // never HardLink
        std::uint32_t mode = 0;
        std::uint32_t uid = 0;
        std::uint32_t gid = 0;
        std::int64_t mtime = 0;
        std::uint32_t mtime_ns = 0;
        std::uint32_t major = 0;
        std::uint32_t minor = 0;
        std::uint32_t links = 0;  // names; of directories: 2 and one for each directory in it
        std::uint32_t layer = 0;  // of regular files: whose data has it, from `block` on
        std::uint32_t block = 0;
        std::uint64_t size = 0;
        std::string target;                            // of symbolic links
        std::unique_ptr<Children> children = nullptr;  // of directories
        std::unique_ptr<Xattrs> xattrs = nullptr;      // null: none
        NodeId parent{};                               // of directories
    };

    static constexpr NodeId kRoot{0};

    ImageTree();

    /// The first pass over a layer: what it hides of the layers below, wherever in the archive it
    /// says so. Errors: as add()'s.
    Result<void> hide(const TarEntry& entry);
    /// The second pass: what it adds. Errors: InvalidArgument for names and links that lead nowhere
    /// or out of the image; ResourceExhausted beyond ImageLimits.
    Result<void> add(const TarEntry& entry, std::uint32_t layer, LayerLayout& layout);

    const Node& node(NodeId id) const { return nodes_[static_cast<std::size_t>(id)]; }

private:
    using Path = std::vector<std::string>;
    enum class Missing : std::uint8_t { Fail, Make };

    Node& at(NodeId id) { return nodes_[static_cast<std::size_t>(id)]; }
    Result<NodeId> make_node(Node node);
    Result<NodeId> make_directory(NodeId parent, const std::string& name);
    /// The directory that `path` leads to, through symbolic links. Nothing where it leads nowhere
    /// and is not to be made.
    Result<std::optional<NodeId>> directory_at(std::deque<std::string> path, Missing missing);
    Result<void> insert(NodeId parent, const std::string& name, Node node);
    Result<void> link(NodeId parent, const std::string& name, const TarEntry& entry);
    void remove(NodeId parent, Children::iterator child);
    void remove_children(NodeId directory);

    std::deque<Node> nodes_;
    std::uint64_t made_ = 0;
};

/// Reads the compressed headers of a layer twice, and lays it upon the tree.
/// `headers` is a file that write_layer() made.
Result<void> apply_layer(ImageTree& tree, FdRef headers, std::uint32_t layer);

}  // namespace pepita::storage::image
