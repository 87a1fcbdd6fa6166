#pragma once

#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "runtime/guest_api.h"
#include "runtime/rpc/on_result.h"
#include "storage/api/storage_api.h"
#include "test/support/answering.h"

namespace pepita::test {

/// Notes what it was asked, and answers with what it was told to: always `error` where there is
/// one.
class FakeStorageService : public storage::api::StorageService, public Answering<Code::NotFound> {
public:
    void create(storage::api::VolumeSpec volume, runtime::OnResult<void> done) override {
        asked("create", volume.name);
        created = std::move(volume);
        answer(std::move(done));
    }
    void attach(std::string volume, storage::api::AttachSpec how,
                runtime::OnResult<std::string> done) override {
        asked("attach", std::move(volume));
        attached = how;
        answer(std::move(done), std::string("/run/x.sock"));
    }
    void detach(std::string volume, runtime::OnResult<void> done) override {
        asked("detach", std::move(volume));
        answer(std::move(done));
    }
    void resize(std::string volume, Bytes size, runtime::OnResult<void> done) override {
        asked("resize", std::move(volume));
        capacity = size;
        answer(std::move(done));
    }
    void snapshot(std::string volume, Fd to, runtime::OnResult<void> done) override {
        asked("snapshot", std::move(volume));
        file = std::move(to);
        answer(std::move(done));
    }
    void restore(std::string volume, Fd from, runtime::OnResult<void> done) override {
        asked("restore", std::move(volume));
        file = std::move(from);
        answer(std::move(done));
    }
    void remove(std::string volume, runtime::OnResult<void> done) override {
        asked("remove", std::move(volume));
        answer(std::move(done));
    }
    void list(runtime::OnResult<std::vector<storage::api::VolumeInfo>> done) override {
        asked("list", "");
        answer(std::move(done), volumes);
    }
    void stats(runtime::OnResult<storage::api::StorageStats> done) override {
        asked("stats", "");
        answer(std::move(done), numbers);
    }

    std::string method;  // the last, "" for none
    std::string name;
    storage::api::VolumeSpec created;
    storage::api::AttachSpec attached;
    Bytes capacity;
    Fd file;
    std::vector<storage::api::VolumeInfo> volumes;
    storage::api::StorageStats numbers;

private:
    void asked(std::string what, std::string whom) {
        method = std::move(what);
        name = std::move(whom);
    }
};

/// Every field has a value of its own.
inline storage::api::StorageUse full_use(std::string domain) {
    return {.domain = std::move(domain),
            .pages = {.stored = 1000,
                      .zero = 200,
                      .same = 100,
                      .content = 700,
                      .raw = 30,
                      .packed = Bytes(800'000)},
            .objects = 400,
            .shared = 300,
            .payload = Bytes(500'000),
            .cold = 50,
            .cold_payload = Bytes(20'000),
            .used = Bytes(600'000),
            .metadata = Bytes(100'000),
            .limit = Bytes(64'000'000)};
}

inline storage::api::StorageStats full_stats() {
    return {.store = full_use(""), .domains = {full_use("default"), full_use("tenant-b")}};
}

/// One volume of each kind; one by each front end, one that is not attached.
inline std::vector<storage::api::VolumeInfo> full_volumes() {
    using storage::api::FrontEnd;
    using storage::api::VolumeKind;
    return {
        {.spec = {.name = "scratch",
                  .kind = VolumeKind::Zram,
                  .capacity = Bytes(1U << 30U),
                  .domain = "tenant-b",
                  .file = ""},
         .attachment = storage::api::Attachment{.spec = {.front_end = FrontEnd::VhostUser,
                                                         .queues = 4,
                                                         .depth = 256,
                                                         .read_only = true},
                                                .path = "/run/pepita/storage/scratch.sock"},
         .pages = full_use("").pages},
        {.spec = {.name = "data",
                  .kind = VolumeKind::File,
                  .capacity = Bytes(8192),
                  .domain = "default",
                  .file = "/var/data.img",
                  .direct = true},
         .attachment = std::nullopt,
         .pages = {}},
        {.spec = {.name = "root",
                  .kind = VolumeKind::Overlay,
                  .capacity = Bytes(1U << 20U),
                  .domain = "default",
                  .file = "/var/base.img"},
         .attachment = storage::api::Attachment{.spec = {.front_end = FrontEnd::Ublk,
                                                         .queues = 1,
                                                         .depth = 64,
                                                         .read_only = false},
                                                .path = "/dev/ublkb3"},
         .pages = {
             .stored = 5, .zero = 1, .same = 1, .content = 3, .raw = 0, .packed = Bytes(3000)}}};
}

}  // namespace pepita::test
