#include "storage/zram_store.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/zram/cold_codec.h"
#include "storage/zram/domain.h"
#include "storage/zram/frame_table.h"
#include "storage/zram/layout.h"
#include "storage/zram/memory_file.h"
#include "storage/zram/volume.h"

namespace pepita::storage {
namespace zram {
namespace {

constexpr auto kAllocatedFrom = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
};

bool is_name(std::string_view name) {
    return !name.empty() && name.size() <= ZramStore::kNameMax &&
           std::ranges::all_of(name, kAllocatedFrom);
}

Result<void> check_name(std::string_view what, std::string_view name) {
    if (!is_name(name)) {
        return Error(Code::InvalidArgument,
                     std::string(what) + " is not 1 to 63 characters of [A-Za-z0-9._-]");
    }
    return {};
}

Result<std::uint64_t> random_salt() {
    std::uint64_t salt = 0;
    if (::getrandom(&salt, sizeof(salt), 0) != sizeof(salt)) {
        return Error::from_errno(errno, "getrandom");
    }
    return salt;
}

ZramStatistics sum(ZramStatistics a, const ZramStatistics& b) {
    a.stored += b.stored;
    a.zero += b.zero;
    a.same += b.same;
    a.content += b.content;
    a.raw += b.raw;
    a.packed = a.packed + b.packed;
    return a;
}

class Store final : public ZramStore {
public:
    Store(const std::shared_ptr<MemoryFile>& file, std::unique_ptr<FrameTable> frames)
        : file_(file), frames_(std::move(frames)), cold_(std::make_shared<ColdCodec>(file)) {}
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    Store(Store&&) = delete;
    Store& operator=(Store&&) = delete;
    ~Store() override = default;

    Result<void> adopt();

    Result<std::shared_ptr<ZramVolume>> create_volume(const VolumeOptions& options) override;
    Result<std::shared_ptr<ZramVolume>> find(const std::string& name) const override;
    std::vector<std::shared_ptr<ZramVolume>> volumes() const override;
    Result<void> remove(const std::string& name) override;
    void mark_idle() override;
    Result<ZramCompaction> compact_idle(Pages budget) override;
    ZramUse use() const override;
    Result<ZramUse> use_of(const std::string& domain) const override;

private:
    /// The domain of that name, made where there is none.
    Result<std::shared_ptr<Domain>> domain(const std::string& name);
    Result<std::shared_ptr<Domain>> make_domain(const std::string& name, std::uint64_t salt);
    std::vector<std::shared_ptr<Domain>> domains() const;
    void drop_if_unused(const std::string& name);
    ZramUse use_where(const Domain* only) const;

    Result<void> adopt_volume_frame(std::uint32_t frame);
    Result<void> adopt_object_frames(const std::vector<MemoryFile::Written>& written);

    std::shared_ptr<MemoryFile> file_;
    std::shared_ptr<FrameTable> frames_;
    std::shared_ptr<ColdCodec> cold_;  // as file_ and frames_: volumes may outlive the store
    std::mutex compacting_;            // nothing is marked while something is packed
    mutable std::mutex mutex_;         // guards the two below, not what is in them
    std::map<std::string, std::shared_ptr<Domain>> domains_;
    std::map<std::string, std::shared_ptr<Volume>> volumes_;
};

Result<std::shared_ptr<Domain>> Store::make_domain(const std::string& name, std::uint64_t salt) {
    if (!file_->charge(Domain::cost())) {
        return Error(Code::ResourceExhausted, "the store's memory limit is reached");
    }
    auto made = std::make_shared<Domain>(name, salt, file_, frames_, cold_);
    domains_[name] = made;
    return made;
}

Result<std::shared_ptr<Domain>> Store::domain(const std::string& name) {
    if (const auto found = domains_.find(name); found != domains_.end()) {
        return found->second;
    }
    return make_domain(name, TRY(random_salt()));
}

void Store::drop_if_unused(const std::string& name) {
    const bool is_used = std::ranges::any_of(
        volumes_, [&](const auto& volume) { return volume.second->domain() == name; });
    if (!is_used && domains_.erase(name) != 0) {
        file_->refund(Domain::cost());
    }
}

Result<std::shared_ptr<ZramVolume>> Store::create_volume(const VolumeOptions& options) {
    TRY(check_name("volume's name", options.name));
    TRY(check_name("trust domain's name", options.domain));
    if (options.capacity.value() == 0 || options.capacity > ZramVolume::kCapacityMax) {
        return Error(Code::InvalidArgument, "volume '" + options.name + "' of " +
                                                std::to_string(options.capacity.value()) +
                                                " pages: 1 to " +
                                                std::to_string(ZramVolume::kCapacityMax.value()));
    }
    const std::scoped_lock lock(mutex_);
    if (volumes_.contains(options.name)) {
        return Error(Code::AlreadyExists, "volume '" + options.name + "' exists");
    }
    auto volume = Volume::create(*file_, TRY(domain(options.domain)), options);
    if (!volume) {
        drop_if_unused(options.domain);
        return std::move(volume).error().within("create volume '" + options.name + "'");
    }
    volumes_[options.name] = *volume;
    return std::shared_ptr<ZramVolume>(*volume);
}

Result<std::shared_ptr<ZramVolume>> Store::find(const std::string& name) const {
    const std::scoped_lock lock(mutex_);
    const auto found = volumes_.find(name);
    if (found == volumes_.end()) {
        return Error(Code::NotFound, "there is no volume '" + name + "'");
    }
    return std::shared_ptr<ZramVolume>(found->second);
}

std::vector<std::shared_ptr<ZramVolume>> Store::volumes() const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::shared_ptr<ZramVolume>> all;
    all.reserve(volumes_.size());
    for (const auto& [name, volume] : volumes_) {
        all.push_back(volume);
    }
    return all;
}

Result<void> Store::remove(const std::string& name) {
    std::shared_ptr<Volume> volume;
    {
        const std::scoped_lock lock(mutex_);
        const auto found = volumes_.find(name);
        if (found == volumes_.end()) {
            return Error(Code::NotFound, "there is no volume '" + name + "'");
        }
        volume = found->second;
        volumes_.erase(found);
    }
    volume->remove();
    const std::scoped_lock lock(mutex_);
    drop_if_unused(volume->domain());
    return {};
}

std::vector<std::shared_ptr<Domain>> Store::domains() const {
    const std::scoped_lock lock(mutex_);
    std::vector<std::shared_ptr<Domain>> all;
    all.reserve(domains_.size());
    for (const auto& [name, domain] : domains_) {
        all.push_back(domain);
    }
    return all;
}

void Store::mark_idle() {
    const std::scoped_lock lock(compacting_);
    for (const auto& domain : domains()) {
        domain->mark_idle();
    }
}

Result<ZramCompaction> Store::compact_idle(Pages budget) {
    const std::scoped_lock lock(compacting_);
    if (!cold_->prepare()) {
        return Error(Code::ResourceExhausted, "the store's memory limit is reached");
    }
    ZramCompaction sum{.pages = 0, .saved = {}, .is_done = true};
    for (const auto& domain : domains()) {
        const ZramCompaction one =
            domain->compact_idle(budget.value() - std::min(budget.value(), sum.pages));
        sum.pages += one.pages;
        sum.saved = sum.saved + one.saved;
        sum.is_done = sum.is_done && one.is_done;
    }
    return sum;
}

ZramUse Store::use_where(const Domain* only) const {
    ZramUse all;
    for (const auto& [name, volume] : volumes_) {
        if (only == nullptr || volume->trust().get() == only) {
            all.pages = sum(all.pages, volume->statistics());
        }
    }
    for (const auto& [name, domain] : domains_) {
        if (only == nullptr || domain.get() == only) {
            const ZramSharing its = domain->sharing();
            all.sharing.objects += its.objects;
            all.sharing.shared += its.shared;
            all.sharing.payload = all.sharing.payload + its.payload;
            all.sharing.cold += its.cold;
            all.sharing.cold_payload = all.sharing.cold_payload + its.cold_payload;
        }
    }
    all.used = only == nullptr ? file_->used() : Bytes(only->used());
    all.metadata = all.used - all.sharing.payload;
    all.limit = file_->limit();
    return all;
}

ZramUse Store::use() const {
    const std::scoped_lock lock(mutex_);
    return use_where(nullptr);
}

Result<ZramUse> Store::use_of(const std::string& name) const {
    const std::scoped_lock lock(mutex_);
    const auto found = domains_.find(name);
    if (found == domains_.end()) {
        return Error(Code::NotFound, "there is no trust domain '" + name + "'");
    }
    return use_where(found->second.get());
}

/// A name as it stands in a volume's frame; empty where it is none.
std::string_view name_in(const char (&room)[kNameRoom]) {  // NOLINT(*-avoid-c-arrays): a layout
    const std::string_view name(static_cast<const char*>(room), ::strnlen(room, kNameRoom));
    return is_name(name) ? name : std::string_view();
}

Result<void> Store::adopt_volume_frame(std::uint32_t frame) {
    const auto& its = file_->at<VolumeFrame>(frame);
    const std::string name(name_in(its.name));
    const std::string domain_name(name_in(its.domain));
    if (name.empty() || domain_name.empty() || its.capacity == 0 ||
        its.capacity > ZramVolume::kCapacityMax.value() || its.content > ZramContent::Overlay ||
        its.phase > VolumePhase::Filling || volumes_.contains(name) || !file_->take_at(frame)) {
        return Error(Code::DataLoss, "frame " + std::to_string(frame) + " is no sound volume");
    }
    const auto found = domains_.find(domain_name);
    std::shared_ptr<Domain> domain = found != domains_.end() ? found->second : nullptr;
    if (!domain) {
        domain = TRY(make_domain(domain_name, its.salt));
    }
    if (domain->salt() != its.salt) {
        return Error(Code::DataLoss, "volume '" + name + "' has not its trust domain's salt");
    }
    volumes_[name] = nullptr;  // opened when all frames of objects are known
    return {};
}

/// Of a frame whose first page was never written nothing may be read there.
bool is_of_kind(const MemoryFile& file, const MemoryFile::Written& written, FrameKind kind) {
    return written.has(0, kPageSize.value()) && file.at<ObjectFrame>(written.frame).kind == kind;
}

Result<void> Store::adopt_object_frames(const std::vector<MemoryFile::Written>& written) {
    std::map<std::uint32_t, MemoryFile::Written> youngest;  // physical, by number
    for (const MemoryFile::Written& physical : written) {
        if (!is_of_kind(*file_, physical, FrameKind::Objects)) {
            continue;
        }
        const auto& frame = file_->at<ObjectFrame>(physical.frame);
        if (frame.number == 0 || frame.number >= file_->frames()) {
            return Error(Code::DataLoss,
                         "frame " + std::to_string(physical.frame) + " has no number");
        }
        const auto [best, is_first] = youngest.emplace(frame.number, physical);
        if (!is_first && file_->at<ObjectFrame>(best->second.frame).generation < frame.generation) {
            best->second = physical;
        }
    }
    for (const auto& [number, physical] : youngest) {
        const auto& frame = file_->at<ObjectFrame>(physical.frame);
        for (const auto& [name, domain] : domains_) {
            if (domain->salt() != frame.salt) {
                continue;
            }
            if (!file_->take_at(physical.frame) || !frames_->take_at(number) ||
                !domain->adopt_frame(number, physical, frame.shard)) {
                return Error(Code::DataLoss,
                             "frame " + std::to_string(physical.frame) + " contradicts itself");
            }
            break;
        }
    }
    return {};
}

Result<void> Store::adopt() {
    const std::vector<MemoryFile::Written> written = TRY(file_->written_frames());
    std::vector<std::uint32_t> volume_frames;
    for (const MemoryFile::Written& one : written) {
        if (is_of_kind(*file_, one, FrameKind::Volume)) {
            TRY(adopt_volume_frame(one.frame));
            volume_frames.push_back(one.frame);
        }
    }
    TRY(adopt_object_frames(written));
    for (const std::uint32_t frame : volume_frames) {
        const auto& its = file_->at<VolumeFrame>(frame);
        volumes_[its.name] = TRY(Volume::open(*file_, domains_.at(its.domain), frame));
    }
    for (std::uint32_t number = 1; number < file_->frames(); ++number) {
        const std::uint32_t physical = (*frames_)[number].physical;
        if (physical == 0) {
            continue;
        }
        const std::uint64_t salt = file_->at<ObjectFrame>(physical).salt;
        for (const auto& [name, domain] : domains_) {
            if (domain->salt() == salt && !domain->settle(number)) {
                return Error(Code::DataLoss,
                             "frame " + std::to_string(physical) + " contradicts itself");
            }
        }
    }
    for (const auto& [name, volume] : volumes_) {
        volume->drop_if_filling();
    }
    // What is left was on its way in or out when the process ended.
    for (const MemoryFile::Written& one : written) {
        if (file_->take_at(one.frame)) {
            file_->give(one.frame);
        }
    }
    return {};
}

}  // namespace
}  // namespace zram

Result<std::shared_ptr<ZramStore>> ZramStore::create(Fd file, Bytes limit) {
    auto memory = TRY(zram::MemoryFile::create(std::move(file), limit));
    auto frames = TRY(zram::FrameTable::create(memory->frames()));
    return std::make_shared<zram::Store>(std::move(memory), std::move(frames));
}

Result<std::shared_ptr<ZramStore>> ZramStore::open(Fd file) {
    auto memory = TRY(zram::MemoryFile::open(std::move(file)));
    auto frames = TRY(zram::FrameTable::create(memory->frames()));
    auto store = std::make_shared<zram::Store>(std::move(memory), std::move(frames));
    TRY(store->adopt(), "open the store");
    return store;
}

}  // namespace pepita::storage
