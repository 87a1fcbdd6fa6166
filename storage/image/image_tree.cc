#include "storage/image/image_tree.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/utf8.h"
#include "storage/image/layer_layout.h"
#include "storage/image/limits.h"
#include "storage/image/sources.h"
#include "storage/image/tar_reader.h"

namespace pepita::storage::image {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kMeta = ".wh..wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::uint32_t kMajorMax = 4095;  // Linux include/linux/kdev_t.h
constexpr std::uint32_t kMinorMax = (1U << 20U) - 1;
constexpr std::uint32_t kNobody = UINT32_MAX;  // (uid_t)-1: no id

Error invalid(std::string_view why) { return {Code::InvalidArgument, std::string(why)}; }

/// The names on the way. Leading slashes and "." are nothing, as in all tools.
Result<std::deque<std::string>> names_of(std::string_view path) {
    if (path.size() > ImageLimits::kPathMax) {
        return invalid("the name is longer than " + std::to_string(ImageLimits::kPathMax) +
                       " bytes");
    }
    if (path.find('\0') != std::string_view::npos) {
        return invalid("the name holds a NUL");
    }
    std::deque<std::string> names;
    while (!path.empty()) {
        const std::string_view name = path.substr(0, path.find('/'));
        path.remove_prefix(std::min(path.size(), name.size() + 1));
        if (name == "..") {
            return invalid("the name has '..' in it");
        }
        if (name.size() > ImageLimits::kNameMax) {
            return invalid("a name is longer than " + std::to_string(ImageLimits::kNameMax) +
                           " bytes");
        }
        if (!name.empty() && name != ".") {
            names.emplace_back(name);
        }
    }
    if (names.size() > ImageLimits::kDepthMax) {
        return invalid("the name has more than " + std::to_string(ImageLimits::kDepthMax) +
                       " parts");
    }
    return names;
}

/// Whether EROFS can hold it, and a guest shall see it. overlayfs acts on its own attributes in a
/// lower layer, and shows them to nobody.
bool is_kept(std::string_view name) {
    if (name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.")) {
        return false;
    }
    return name == "system.posix_acl_access" || name == "system.posix_acl_default" ||
           name.starts_with("user.") || name.starts_with("trusted.") ||
           name.starts_with("security.");
}

Result<std::unique_ptr<ImageTree::Xattrs>> xattrs_of(const TarEntry& entry) {
    auto kept = std::make_unique<ImageTree::Xattrs>();
    std::size_t size = 0;
    for (const auto& [name, value] : entry.xattrs) {
        if (!is_kept(name)) {
            continue;
        }
        size += name.size() + value.size();
        if (name.size() > ImageLimits::kXattrNameMax || name.find('\0') != std::string::npos ||
            name.ends_with('.') || value.size() > ImageLimits::kXattrValueMax ||
            size > ImageLimits::kXattrsMax) {
            return invalid("extended attribute '" + printable(name.substr(0, 64)) +
                           "' is more than Linux takes");
        }
        kept->emplace(name, value);
    }
    return kept->empty() ? nullptr : std::move(kept);
}

Result<ImageTree::Node> node_of(const TarEntry& entry) {
    if (entry.uid == kNobody || entry.gid == kNobody) {
        return invalid("owner 4294967295 is no owner");
    }
    if (entry.major > kMajorMax || entry.minor > kMinorMax) {
        return invalid("device " + std::to_string(entry.major) + ":" + std::to_string(entry.minor) +
                       " is out of range");
    }
    ImageTree::Node node;
    node.type = entry.type;
    node.mode = entry.mode;
    node.uid = entry.uid;
    node.gid = entry.gid;
    node.mtime = entry.mtime;
    node.mtime_ns = entry.mtime_ns;
    node.major = entry.major;
    node.minor = entry.minor;
    node.xattrs = TRY(xattrs_of(entry));
    if (entry.type == TarEntry::Type::Symlink) {
        if (entry.link.empty() || entry.link.size() > ImageLimits::kSymlinkMax ||
            entry.link.find('\0') != std::string::npos) {
            return invalid("the symbolic link's target is not 1 to " +
                           std::to_string(ImageLimits::kSymlinkMax) + " bytes");
        }
        node.target = entry.link;
        node.size = entry.link.size();
    }
    return node;
}

ImageTree::Node plain_directory() {
    ImageTree::Node node;
    node.type = TarEntry::Type::Directory;
    node.mode = 0755;
    return node;
}

/// The names of a symbolic link's target, ".." too.
std::vector<std::string> parts_of(std::string_view target) {
    std::vector<std::string> parts;
    while (!target.empty()) {
        const std::string_view part = target.substr(0, target.find('/'));
        target.remove_prefix(std::min(target.size(), part.size() + 1));
        if (!part.empty() && part != ".") {
            parts.emplace_back(part);
        }
    }
    return parts;
}

std::string quoted(const TarEntry& entry) {
    return "layer entry '" + printable(std::string_view(entry.path).substr(0, 256)) + "'";
}

}  // namespace

ImageTree::ImageTree() {
    Node root = plain_directory();
    root.links = 2;
    root.children = std::make_unique<Children>();
    nodes_.push_back(std::move(root));
}

Result<ImageTree::NodeId> ImageTree::make_node(Node node) {
    // Not those that are left: what was replaced costs time as well.
    if (made_ == 2 * ImageLimits::kEntriesMax) {
        return Error(
            Code::ResourceExhausted,
            "the image has more than " + std::to_string(2 * ImageLimits::kEntriesMax) + " files");
    }
    ++made_;
    nodes_.push_back(std::move(node));
    return static_cast<NodeId>(nodes_.size() - 1);
}

Result<void> ImageTree::insert(NodeId parent, const std::string& name, Node node) {
    Children& siblings = *at(parent).children;
    const auto [child, is_new] = siblings.try_emplace(name);
    if (!is_new) {
        Node& old = at(child->second);
        if (old.type == TarEntry::Type::Directory && node.type == TarEntry::Type::Directory) {
            node.links = old.links;
            node.children = std::move(old.children);
            node.parent = parent;
            old = std::move(node);
            return {};
        }
    }
    const bool is_directory = node.type == TarEntry::Type::Directory;
    node.links = is_directory ? 2 : 1;
    if (is_directory) {
        node.children = std::make_unique<Children>();
        node.parent = parent;
    }
    Result<NodeId> made = make_node(std::move(node));
    if (!made) {
        if (is_new) {
            siblings.erase(child);
        }
        return std::move(made).error();
    }
    if (!is_new) {
        remove(parent, child);
    }
    siblings[name] = *made;
    at(parent).links += is_directory ? 1 : 0;
    return {};
}

void ImageTree::remove(NodeId parent, Children::iterator child) {
    const NodeId id = child->second;
    at(parent).children->erase(child);
    if (at(id).type != TarEntry::Type::Directory) {
        if (--at(id).links == 0) {
            at(id).target.clear();
            at(id).xattrs.reset();
        }
        return;
    }
    at(parent).links -= 1;
    remove_children(id);
    at(id).links = 0;
    at(id).children.reset();
}

void ImageTree::remove_children(NodeId directory) {
    // Without recursion: the tree is as deep as its maker liked.
    std::vector<NodeId> left{directory};
    while (!left.empty()) {
        Node& node = at(left.back());
        left.pop_back();
        for (const auto& [name, id] : *node.children) {
            Node& child = at(id);
            child.links = child.type == TarEntry::Type::Directory ? 0 : child.links - 1;
            if (child.type == TarEntry::Type::Directory) {
                left.push_back(id);
            }
        }
        node.children->clear();
    }
    at(directory).links = 2;
}

Result<ImageTree::NodeId> ImageTree::make_directory(NodeId parent, const std::string& name) {
    TRY(insert(parent, name, plain_directory()));
    return at(parent).children->at(name);
}

Result<std::optional<ImageTree::NodeId>> ImageTree::directory_at(std::deque<std::string> path,
                                                                 Missing missing) {
    NodeId here = kRoot;
    std::size_t depth = 0;
    std::size_t links = 0;
    while (!path.empty()) {
        const std::string name = std::move(path.front());
        path.pop_front();
        if (name == "..") {  // of a link; above the root there is the root
            here = at(here).parent;
            continue;
        }
        const auto found = at(here).children->find(name);
        if (found == at(here).children->end()) {
            if (missing == Missing::Fail) {
                return std::optional<NodeId>();
            }
            if (++depth > ImageLimits::kDepthMax || name.size() > ImageLimits::kNameMax) {
                return invalid("a symbolic link leads too deep");
            }
            here = TRY(make_directory(here, name));
            continue;
        }
        const Node& node = at(found->second);
        if (node.type == TarEntry::Type::Directory) {
            here = found->second;
            continue;
        }
        if (node.type != TarEntry::Type::Symlink && missing == Missing::Fail) {
            return std::optional<NodeId>();
        }
        if (node.type != TarEntry::Type::Symlink) {
            return invalid("'" + printable(name) + "' on the way is no directory");
        }
        if (++links > ImageLimits::kSymlinksFollowed) {
            return invalid("too many symbolic links on the way, or a loop of them");
        }
        const std::vector<std::string> target = parts_of(node.target);
        here = node.target.starts_with('/') ? kRoot : here;
        path.insert(path.begin(), target.begin(), target.end());
    }
    return std::optional(here);
}

Result<void> ImageTree::link(NodeId parent, const std::string& name, const TarEntry& entry) {
    std::deque<std::string> path = TRY(names_of(entry.link), "the link's target");
    if (path.empty()) {
        return invalid("the link's target is the root");
    }
    const std::string last = std::move(path.back());
    path.pop_back();
    const auto directory = TRY(directory_at(std::move(path), Missing::Fail), "the link's target");
    const auto missing = [&] {
        return invalid("the link's target '" +
                       printable(std::string_view(entry.link).substr(0, 256)) + "' does not exist");
    };
    if (!directory) {
        return missing();
    }
    const auto found = at(*directory).children->find(last);
    if (found == at(*directory).children->end()) {
        return missing();
    }
    const NodeId target = found->second;
    if (at(target).type == TarEntry::Type::Directory) {
        return invalid("the link's target is a directory");
    }
    const auto old = at(parent).children->find(name);
    if (old != at(parent).children->end()) {
        if (old->second == target) {
            return {};
        }
        ++at(target).links;  // the target may be in what is replaced
        remove(parent, old);
        --at(target).links;
        if (at(target).links == 0) {
            return missing();
        }
    }
    ++at(target).links;
    at(parent).children->emplace(name, target);
    return {};
}

Result<void> ImageTree::hide(const TarEntry& entry) {
    std::deque<std::string> path = TRY(names_of(entry.path), quoted(entry));
    if (path.empty() || !path.back().starts_with(kWhiteout)) {
        return {};
    }
    const std::string name = std::move(path.back());
    path.pop_back();
    const auto directory = TRY(directory_at(std::move(path), Missing::Fail), quoted(entry));
    if (!directory) {
        return {};
    }
    if (name == kOpaque) {
        remove_children(*directory);
        return {};
    }
    if (name.starts_with(kMeta)) {
        return {};  // of aufs; no tool acts on it
    }
    const auto found = at(*directory).children->find(name.substr(kWhiteout.size()));
    if (found != at(*directory).children->end()) {
        remove(*directory, found);
    }
    return {};
}

Result<void> ImageTree::add(const TarEntry& entry, std::uint32_t layer, LayerLayout& layout) {
    std::uint32_t block = 0;
    if (entry.type == TarEntry::Type::Regular) {
        block = TRY(layout.place(entry.size), quoted(entry));
    }
    std::deque<std::string> path = TRY(names_of(entry.path), quoted(entry));
    if (path.empty()) {
        if (entry.type != TarEntry::Type::Directory) {
            return invalid(quoted(entry) + ": the root is a directory");
        }
        Node root = TRY(node_of(entry), quoted(entry));
        root.links = at(kRoot).links;
        root.children = std::move(at(kRoot).children);
        at(kRoot) = std::move(root);
        return {};
    }
    const std::string name = std::move(path.back());
    path.pop_back();
    if (name.starts_with(kWhiteout)) {
        return {};
    }
    const auto parent = TRY(directory_at(std::move(path), Missing::Make), quoted(entry));
    CHECK(parent.has_value());
    if (entry.type == TarEntry::Type::HardLink) {
        TRY(link(*parent, name, entry), quoted(entry));
        return {};
    }
    Node node = TRY(node_of(entry), quoted(entry));
    if (entry.type == TarEntry::Type::Regular) {
        node.size = entry.size;
        node.layer = layer;
        node.block = block;
    }
    TRY(insert(*parent, name, std::move(node)), quoted(entry));
    return {};
}

Result<void> apply_layer(ImageTree& tree, FdRef headers, std::uint32_t layer) {
    LayerLayout layout;
    const Bytes size = TRY(file_size(headers));
    for (const bool is_first_pass : {true, false}) {
        FileSource file(headers, 0, size);
        const auto skeleton = TRY(uncompressed(file, Origin::Ours));
        TarReader reader(*skeleton, TarReader::Kind::Skeleton);
        while (const std::optional<TarEntry> entry = TRY(reader.next())) {
            TRY(is_first_pass ? tree.hide(*entry) : tree.add(*entry, layer, layout));
        }
    }
    return {};
}

}  // namespace pepita::storage::image
