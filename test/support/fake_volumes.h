#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "storage/daemon/backing.h"
#include "storage/daemon/exporter.h"
#include "storage/zram_store.h"

namespace pepita::test {

/// What the fakes of one test have been told; it outlives them.
struct VolumeLog {
    std::vector<std::string> lines;
    std::optional<std::string> error;  // of the next call that can fail, as Internal

    Result<void> note(std::string line) {
        lines.push_back(std::move(line));
        if (error) {
            return Error(Code::Internal, *std::exchange(error, std::nullopt));
        }
        return {};
    }
};

/// Volumes that are no more than a name and a capacity. Disks are null: the fake exporter does not
/// use them.
class FakeBacking : public storage::daemon::Backing {
public:
    explicit FakeBacking(VolumeLog& log) : log_(log) {}

    Result<Bytes> create(const storage::api::VolumeSpec& volume) override {
        TRY(log_.note("create " + volume.name));
        volumes[volume.name] = volume;
        return volume.capacity;
    }
    Result<std::shared_ptr<storage::Disk>> open(const storage::api::VolumeSpec& volume,
                                                bool read_only) override {
        TRY(log_.note("open " + volume.name + (read_only ? " ro" : "")));
        return std::shared_ptr<storage::Disk>();
    }
    Result<void> resize(const storage::api::VolumeSpec& volume, Bytes capacity) override {
        return log_.note("resize " + volume.name + " " + std::to_string(capacity.value()));
    }
    Result<void> snapshot(const storage::api::VolumeSpec& volume, FdRef /*file*/) override {
        return log_.note("snapshot " + volume.name);
    }
    Result<void> restore(const storage::api::VolumeSpec& volume, FdRef /*file*/) override {
        return log_.note("restore " + volume.name);
    }
    Result<void> remove(const storage::api::VolumeSpec& volume) override {
        volumes.erase(volume.name);
        return log_.note("remove " + volume.name);
    }
    storage::api::PageCounts pages(const storage::api::VolumeSpec& /*volume*/) const override {
        storage::api::PageCounts counts;
        counts.stored = 7;
        return counts;
    }
    storage::api::StorageStats stats() const override {
        storage::api::StorageStats stats;
        stats.store.objects = 9;
        return stats;
    }
    void mark_idle() override { log_.lines.emplace_back("mark idle"); }
    Result<storage::ZramCompaction> compact_idle(Pages budget) override {
        return storage::ZramCompaction{.pages = budget.value(), .saved = Bytes(1), .is_done = true};
    }
    std::vector<Kept> kept() const override {
        std::vector<Kept> all;
        for (const auto& [name, spec] : volumes) {
            all.push_back({.name = name,
                           .kind = says_kind ? std::optional(spec.kind) : std::nullopt,
                           .capacity = spec.capacity,
                           .domain = spec.domain});
        }
        return all;
    }

    std::map<std::string, storage::api::VolumeSpec> volumes;
    bool says_kind = true;

private:
    VolumeLog& log_;
};

class FakeExport : public storage::daemon::Export {
public:
    FakeExport(VolumeLog& log, std::string path) : log_(log), path_(std::move(path)) {}
    std::string path() const override { return path_; }
    Result<void> stop() override { return log_.note("stop " + path_); }
    Result<void> leave() override { return log_.note("leave " + path_); }
    Result<void> resized() override { return log_.note("resized " + path_); }

private:
    VolumeLog& log_;
    std::string path_;
};

class FakeExporter : public storage::daemon::Exporter {
public:
    explicit FakeExporter(VolumeLog& log) : log_(log) {}
    Result<std::unique_ptr<storage::daemon::Export>> attach(
        const std::string& name, const storage::api::AttachSpec& how,
        std::shared_ptr<storage::Disk> /*disk*/) override {
        TRY(log_.note("attach " + name + " " + std::to_string(how.queues)));
        return std::make_unique<FakeExport>(log_, "/fake/" + name);
    }
    Result<std::unique_ptr<storage::daemon::Export>> recover(
        const std::string& name, const storage::api::Attachment& before,
        std::shared_ptr<storage::Disk> /*disk*/) override {
        TRY(log_.note("recover " + name + " " + before.path));
        return std::make_unique<FakeExport>(log_, before.path);
    }
    void remove_strays(const std::vector<std::string>& exported) override {
        std::string line = "remove strays but";
        for (const std::string& path : exported) {
            line += " " + path;
        }
        (void)log_.note(line).has_value();
    }

private:
    VolumeLog& log_;
};

}  // namespace pepita::test
