#include "storage/daemon/node.h"

#include <fcntl.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/log.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/zram_store.h"

namespace pepita::storage::daemon {
namespace {

using api::Attachment;
using api::AttachSpec;
using api::FrontEnd;
using api::StorageStats;
using api::VolumeInfo;
using api::VolumeKind;
using api::VolumeSpec;

constexpr std::size_t kStateSizeMax = std::size_t{4} << 20U;

/// What an earlier daemon has written down; nothing where there was none.
Result<std::vector<VolumeInfo>> read_state(FdRef directory) {
    const Fd file(::openat(directory.number(), Node::kStateFile,
                           O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (!file) {
        if (errno == ENOENT) {
            return std::vector<VolumeInfo>();
        }
        return Error::from_errno(errno, std::string("open '") + Node::kStateFile + "'");
    }
    const std::string text = TRY(read_all(file.ref(), kStateSizeMax, Node::kStateFile));
    return TRY(api::parse_storage_state(text), Node::kStateFile);
}

Error is_attached(const std::string& name, const std::string& path) {
    return {Code::FailedPrecondition, "volume '" + name + "' is attached at '" + path + "'"};
}

}  // namespace

Result<std::unique_ptr<Node>> Node::open(Parts parts) {
    std::unique_ptr<Node> node(new Node(std::move(parts)));
    node->take_over(TRY(read_state(node->parts_.state.ref())));
    TRY(node->save());
    return node;
}

void Node::take_over(const std::vector<VolumeInfo>& before) {
    std::map<std::string, Backing::Kept> kept;
    for (Backing::Kept& one : parts_.backing->kept()) {
        std::string name = one.name;
        kept.emplace(std::move(name), std::move(one));
    }
    for (const VolumeInfo& info : before) {
        const auto found =
            info.spec.kind == VolumeKind::File ? kept.end() : kept.find(info.spec.name);
        take_over_one(info, found == kept.end() ? nullptr : &found->second);
        if (found != kept.end()) {
            kept.erase(found);
        }
    }
    remove_strays();
    for (const auto& [name, one] : kept) {
        take_over_unlisted(one);
    }
}

void Node::take_over_one(const VolumeInfo& info, const Backing::Kept* kept) {
    VolumeSpec spec = info.spec;
    if (spec.kind != VolumeKind::File) {
        if (kept == nullptr) {
            log::warn("a volume is gone with the memory it was in", {{"volume", spec.name}});
            return;
        }
        if (kept->kind && *kept->kind != spec.kind) {
            log::warn("the list and the store do not agree on what a volume is",
                      {{"volume", spec.name},
                       {"list", to_string(spec.kind)},
                       {"store", to_string(*kept->kind)}});
            return take_over_unlisted(*kept);
        }
        spec.capacity = kept->capacity;
    }
    Volume& volume = volumes_[spec.name];
    volume.spec = std::move(spec);
    if (!info.attachment) {
        return;
    }
    auto exported = recover(volume.spec, *info.attachment);
    if (!exported) {
        log::warn("a volume is not attached any more",
                  {{"volume", volume.spec.name}, {"error", exported.error().message()}});
        return;
    }
    volume.how = info.attachment->spec;
    volume.exported = *std::move(exported);
}

/// Made, but a kill came before it was written down.
void Node::take_over_unlisted(const Backing::Kept& kept) {
    Volume& volume = volumes_[kept.name];
    volume.spec = {.name = kept.name,
                   .kind = kept.kind.value_or(VolumeKind::Zram),
                   .capacity = kept.capacity,
                   .domain = kept.domain,
                   .file = ""};
    volume.is_listed = kept.kind == VolumeKind::Zram;  // all that there is to know of it
    log::warn(volume.is_listed ? "a volume that was not written down is kept"
                               : "a volume was not written down, and can only be deleted",
              {{"volume", kept.name}, {"kind", kept.kind ? to_string(*kept.kind) : "unknown"}});
}

void Node::remove_strays() {
    for (const auto& [front_end, exporter] : parts_.exporters) {
        std::vector<std::string> exported;
        for (const auto& [name, volume] : volumes_) {
            if (volume.exported && volume.how.front_end == front_end) {
                exported.push_back(volume.exported->path());
            }
        }
        exporter->remove_strays(exported);
    }
}

Result<std::unique_ptr<Export>> Node::recover(const VolumeSpec& spec, const Attachment& before) {
    Exporter* const exporter = TRY(exporter_of(before.spec.front_end));
    std::shared_ptr<Disk> disk = TRY(parts_.backing->open(spec, before.spec.read_only));
    return exporter->recover(spec.name, before, std::move(disk));
}

Result<Node::Volume*> Node::find(const std::string& name) {
    const auto found = volumes_.find(name);
    if (found == volumes_.end()) {
        return Error(Code::NotFound, "volume '" + name + "' does not exist");
    }
    return &found->second;
}

Result<Node::Volume*> Node::find_listed(const std::string& name) {
    Volume* const volume = TRY(find(name));
    if (!volume->is_listed) {
        return Error(Code::FailedPrecondition, "what volume '" + name +
                                                   "' is was not written down: it can only be "
                                                   "deleted");
    }
    return volume;
}

Result<Exporter*> Node::exporter_of(FrontEnd front_end) const {
    const auto found = parts_.exporters.find(front_end);
    if (found == parts_.exporters.end()) {
        return Error(Code::Unsupported,
                     "no front end '" + std::string(to_string(front_end)) + "' here");
    }
    return found->second.get();
}

Result<void> Node::save() const {
    std::vector<VolumeInfo> volumes = list();
    std::erase_if(volumes,
                  [this](const VolumeInfo& one) { return !volumes_.at(one.spec.name).is_listed; });
    return replace_file(parts_.state.ref(), kStateFile, api::storage_state_text(volumes), 0600);
}

Result<void> Node::create(VolumeSpec spec) {
    if (volumes_.contains(spec.name)) {
        return Error(Code::AlreadyExists, "volume '" + spec.name + "' exists");
    }
    if (volumes_.size() == kVolumesMax) {
        return Error(Code::ResourceExhausted,
                     "there are " + std::to_string(kVolumesMax) + " volumes already");
    }
    spec.capacity = TRY(parts_.backing->create(spec));
    const std::string name = spec.name;
    volumes_[name].spec = spec;
    if (Result<void> saved = save(); !saved) {
        volumes_.erase(name);
        (void)parts_.backing->remove(spec).has_value();  // the first error is the one to tell
        return saved;
    }
    return {};
}

Result<std::string> Node::attach(const std::string& name, const AttachSpec& how) {
    Volume* const volume = TRY(find_listed(name));
    if (volume->exported) {
        return is_attached(name, volume->exported->path());
    }
    Exporter* const exporter = TRY(exporter_of(how.front_end));
    std::shared_ptr<Disk> disk = TRY(parts_.backing->open(volume->spec, how.read_only));
    volume->exported = TRY(exporter->attach(name, how, std::move(disk)));
    volume->how = how;
    if (Result<void> saved = save(); !saved) {
        (void)volume->exported->stop().has_value();  // the first error is the one to tell
        volume->exported.reset();
        return std::move(saved).error();
    }
    return volume->exported->path();
}

Result<void> Node::detach(const std::string& name) {
    Volume* const volume = TRY(find(name));
    if (!volume->exported) {
        return Error(Code::FailedPrecondition, "volume '" + name + "' is not attached");
    }
    TRY(volume->exported->stop());
    volume->exported.reset();
    return save();
}

Result<void> Node::resize(const std::string& name, Bytes capacity) {
    Volume* const volume = TRY(find_listed(name));
    if (volume->exported && capacity < volume->spec.capacity) {
        return is_attached(name, volume->exported->path()).within("make smaller");
    }
    TRY(parts_.backing->resize(volume->spec, capacity));
    volume->spec.capacity = capacity;
    TRY(save());
    if (volume->exported) {
        TRY(volume->exported->resized(), "the front end was not told");
    }
    return {};
}

Result<void> Node::snapshot(const std::string& name, FdRef file) {
    Volume* const volume = TRY(find_listed(name));
    return parts_.backing->snapshot(volume->spec, file);
}

Result<void> Node::restore(const std::string& name, FdRef file) {
    Volume* const volume = TRY(find_listed(name));
    if (volume->exported) {
        return is_attached(name, volume->exported->path());
    }
    return parts_.backing->restore(volume->spec, file);
}

Result<void> Node::remove(const std::string& name) {
    Volume* const volume = TRY(find(name));
    if (volume->exported) {
        return is_attached(name, volume->exported->path());
    }
    TRY(parts_.backing->remove(volume->spec));
    volumes_.erase(name);
    return save();
}

std::vector<VolumeInfo> Node::list() const {
    std::vector<VolumeInfo> all;
    for (const auto& [name, volume] : volumes_) {
        VolumeInfo info{.spec = volume.spec,
                        .attachment = std::nullopt,
                        .pages = parts_.backing->pages(volume.spec)};
        if (volume.exported) {
            info.attachment = Attachment{.spec = volume.how, .path = volume.exported->path()};
        }
        all.push_back(std::move(info));
    }
    return all;
}

StorageStats Node::stats() const { return parts_.backing->stats(); }

void Node::mark_idle() { parts_.backing->mark_idle(); }

Result<ZramCompaction> Node::compact_idle(Pages budget) {
    return parts_.backing->compact_idle(budget);
}

void Node::stop(Ending ending) {
    for (auto& [name, volume] : volumes_) {
        if (!volume.exported) {
            continue;
        }
        const Result<void> ended =
            ending == Ending::Leave ? volume.exported->leave() : volume.exported->stop();
        if (!ended) {
            log::warn("a front end did not end in order, going on",
                      {{"volume", name}, {"error", ended.error().message()}});
        }
        volume.exported.reset();
    }
    if (ending == Ending::Purge) {
        if (const Result<void> saved = save(); !saved) {
            log::warn("the next daemon will find volumes attached",
                      {{"error", saved.error().message()}});
        }
    }
}

}  // namespace pepita::storage::daemon
