#include "storage/api/storage_api.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/channel.h"
#include "runtime/rpc/message.h"
#include "runtime/rpc/on_result.h"
#include "storage/api/storage.pb.h"

namespace pepita::storage::api {
namespace {

namespace pb = ::pepita::storage::v1;
using runtime::api::parse;
using runtime::api::reply_to;
using runtime::api::respond_to;

constexpr std::string_view kService = "pepita.storage.v1.Storage";
constexpr std::size_t kNameMax = 63;
constexpr std::size_t kPathMax = 4095;

Error invalid(std::string message) { return {Code::InvalidArgument, std::move(message)}; }

pb::Kind to_message(VolumeKind kind) {
    switch (kind) {
        case VolumeKind::Zram:
            return pb::KIND_ZRAM;
        case VolumeKind::File:
            return pb::KIND_FILE;
        case VolumeKind::Overlay:
            return pb::KIND_OVERLAY;
    }
    std::unreachable();
}

Result<VolumeKind> kind_of(pb::Kind kind) {
    if (kind == pb::KIND_ZRAM) {
        return VolumeKind::Zram;
    }
    if (kind == pb::KIND_FILE) {
        return VolumeKind::File;
    }
    if (kind == pb::KIND_OVERLAY) {
        return VolumeKind::Overlay;
    }
    return invalid("no such kind of volume: " + std::to_string(kind));
}

pb::FrontEnd to_message(FrontEnd front_end) {
    return front_end == FrontEnd::Ublk ? pb::FRONT_END_UBLK : pb::FRONT_END_VHOST_USER;
}

Result<FrontEnd> front_end_of(pb::FrontEnd front_end) {
    if (front_end == pb::FRONT_END_UBLK) {
        return FrontEnd::Ublk;
    }
    if (front_end == pb::FRONT_END_VHOST_USER) {
        return FrontEnd::VhostUser;
    }
    return invalid("no such front end: " + std::to_string(front_end));
}

pb::CreateRequest to_message(const VolumeSpec& volume) {
    pb::CreateRequest message;
    message.set_name(volume.name);
    message.set_kind(to_message(volume.kind));
    message.set_capacity(volume.capacity.value());
    message.set_domain(volume.domain);
    message.set_file(volume.file);
    message.set_direct(volume.direct);
    return message;
}

Result<VolumeSpec> from_message(const pb::CreateRequest& message) {
    return VolumeSpec{.name = message.name(),
                      .kind = TRY(kind_of(message.kind())),
                      .capacity = Bytes(message.capacity()),
                      .domain = message.domain(),
                      .file = message.file(),
                      .direct = message.direct()};
}

pb::AttachRequest to_message(const std::string& name, const AttachSpec& how) {
    pb::AttachRequest message;
    message.set_name(name);
    message.set_front_end(to_message(how.front_end));
    message.set_queues(how.queues);
    message.set_depth(how.depth);
    message.set_read_only(how.read_only);
    return message;
}

Result<AttachSpec> from_message(const pb::AttachRequest& message) {
    const FrontEnd front_end = TRY(front_end_of(message.front_end()));
    const bool has_no_depth = message.depth() == 0 && front_end == FrontEnd::Ublk;
    return AttachSpec{.front_end = front_end,
                      .queues = message.queues(),
                      .depth = has_no_depth ? AttachSpec::kDepthUsual : message.depth(),
                      .read_only = message.read_only()};
}

void put_pages(const PageCounts& pages, pb::Pages& message) {
    message.set_stored(pages.stored);
    message.set_zero(pages.zero);
    message.set_same(pages.same);
    message.set_content(pages.content);
    message.set_raw(pages.raw);
    message.set_packed(pages.packed.value());
}

PageCounts from_message(const pb::Pages& message) {
    return {.stored = message.stored(),
            .zero = message.zero(),
            .same = message.same(),
            .content = message.content(),
            .raw = message.raw(),
            .packed = Bytes(message.packed())};
}

pb::ListResponse to_message(const std::vector<VolumeInfo>& volumes) {
    pb::ListResponse message;
    for (const VolumeInfo& info : volumes) {
        pb::Volume& volume = *message.add_volumes();
        *volume.mutable_volume() = to_message(info.spec);
        if (info.attachment) {
            *volume.mutable_attachment() = to_message(info.spec.name, info.attachment->spec);
            volume.set_path(info.attachment->path);
        }
        put_pages(info.pages, *volume.mutable_pages());
    }
    return message;
}

Result<std::vector<VolumeInfo>> from_message(const pb::ListResponse& message) {
    std::vector<VolumeInfo> volumes;
    for (const pb::Volume& volume : message.volumes()) {
        VolumeInfo info{.spec = TRY(from_message(volume.volume())),
                        .attachment = std::nullopt,
                        .pages = from_message(volume.pages())};
        if (volume.has_attachment()) {
            info.attachment =
                Attachment{.spec = TRY(from_message(volume.attachment())), .path = volume.path()};
        }
        volumes.push_back(std::move(info));
    }
    return volumes;
}

void put_use(const StorageUse& use, pb::Use& message) {
    message.set_domain(use.domain);
    put_pages(use.pages, *message.mutable_pages());
    message.set_objects(use.objects);
    message.set_shared(use.shared);
    message.set_payload(use.payload.value());
    message.set_cold(use.cold);
    message.set_cold_payload(use.cold_payload.value());
    message.set_used(use.used.value());
    message.set_metadata(use.metadata.value());
    message.set_limit(use.limit.value());
}

StorageUse from_message(const pb::Use& message) {
    return {.domain = message.domain(),
            .pages = from_message(message.pages()),
            .objects = message.objects(),
            .shared = message.shared(),
            .payload = Bytes(message.payload()),
            .cold = message.cold(),
            .cold_payload = Bytes(message.cold_payload()),
            .used = Bytes(message.used()),
            .metadata = Bytes(message.metadata()),
            .limit = Bytes(message.limit())};
}

pb::StatsResponse to_message(const StorageStats& stats) {
    pb::StatsResponse message;
    put_use(stats.store, *message.mutable_store());
    for (const StorageUse& domain : stats.domains) {
        put_use(domain, *message.add_domains());
    }
    return message;
}

StorageStats from_message(const pb::StatsResponse& message) {
    StorageStats stats{.store = from_message(message.store()), .domains = {}};
    for (const pb::Use& domain : message.domains()) {
        stats.domains.push_back(from_message(domain));
    }
    return stats;
}

runtime::Channel::Reply reply_to(runtime::OnResult<void> done) {
    return reply_to<pb::Empty, void>(std::move(done), [](const pb::Empty&) {});
}

Result<void> check(const VolumeSpec& volume) {
    TRY(check_storage_name(volume.name, "name"));
    TRY(check_storage_name(volume.domain, "domain"));
    if (volume.direct && volume.kind != VolumeKind::File) {
        return invalid("only a volume of kind file is direct");
    }
    if (volume.kind == VolumeKind::Zram) {
        if (!volume.file.empty()) {
            return invalid("a volume of kind zram has no file");
        }
        if (volume.capacity == Bytes(0)) {
            return invalid("capacity 0: must be at least one page of 4096 bytes");
        }
    } else if (!volume.file.starts_with('/') || volume.file.size() > kPathMax ||
               volume.file.find('\0') != std::string::npos) {
        return invalid("file: must be an absolute path");
    }
    return {};
}

Result<void> check(const AttachSpec& how) {
    if (how.queues == 0 || how.queues > AttachSpec::kQueuesMax) {
        return invalid("queues " + std::to_string(how.queues) + ": must be 1 to " +
                       std::to_string(AttachSpec::kQueuesMax));
    }
    if (how.depth > AttachSpec::kDepthMax) {
        return invalid("queue depth " + std::to_string(how.depth) + ": must be 1 to " +
                       std::to_string(AttachSpec::kDepthMax));
    }
    if (how.depth != 0 && how.front_end != FrontEnd::Ublk) {
        return invalid("queue depth: a vhost-user front end decides itself (QEMU: queue-size=)");
    }
    return {};
}

Result<std::string> name_of(const runtime::Channel::Call& call) {
    auto request = TRY(parse<pb::NameRequest>(call.payload));
    TRY(check_storage_name(request.name(), "name"));
    return request.name();
}

Result<Fd> take_file(runtime::Channel::Call& call) {
    if (call.fds.size() != 1) {
        return invalid("one file must come with the request");
    }
    return std::move(call.fds.front());
}

Result<void> dispatch_create(StorageService& service, runtime::Channel::Call& call) {
    VolumeSpec volume = TRY(from_message(TRY(parse<pb::CreateRequest>(call.payload))));
    TRY(check(volume));
    service.create(std::move(volume), respond_to(std::move(call.responder)));
    return {};
}

Result<void> dispatch_attach(StorageService& service, runtime::Channel::Call& call) {
    const auto request = TRY(parse<pb::AttachRequest>(call.payload));
    TRY(check_storage_name(request.name(), "name"));
    const AttachSpec how = TRY(from_message(request));
    TRY(check(how));
    service.attach(request.name(), how,
                   respond_to<std::string>(std::move(call.responder), [](const std::string& path) {
                       pb::AttachResponse response;
                       response.set_path(path);
                       return response;
                   }));
    return {};
}

Result<void> dispatch_resize(StorageService& service, runtime::Channel::Call& call) {
    const auto request = TRY(parse<pb::ResizeRequest>(call.payload));
    TRY(check_storage_name(request.name(), "name"));
    service.resize(request.name(), Bytes(request.capacity()),
                   respond_to(std::move(call.responder)));
    return {};
}

Result<void> dispatch_report(StorageService& service, runtime::Channel::Call& call) {
    TRY(parse<pb::Empty>(call.payload));
    if (call.method == "List") {
        service.list(respond_to<std::vector<VolumeInfo>>(
            std::move(call.responder),
            [](const std::vector<VolumeInfo>& volumes) { return to_message(volumes); }));
    } else {
        service.stats(
            respond_to<StorageStats>(std::move(call.responder),
                                     [](const StorageStats& stats) { return to_message(stats); }));
    }
    return {};
}

Result<void> dispatch_checked(StorageService& service, runtime::Channel::Call& call) {
    const std::string& method = call.method;
    if (call.service != kService) {
        return Error(Code::Unsupported, "no service '" + call.service + "'");
    }
    if (method == "Create") {
        return dispatch_create(service, call);
    }
    if (method == "Attach") {
        return dispatch_attach(service, call);
    }
    if (method == "Resize") {
        return dispatch_resize(service, call);
    }
    if (method == "List" || method == "Stats") {
        return dispatch_report(service, call);
    }
    if (method == "Detach") {
        std::string name = TRY(name_of(call));
        service.detach(std::move(name), respond_to(std::move(call.responder)));
    } else if (method == "Delete") {
        std::string name = TRY(name_of(call));
        service.remove(std::move(name), respond_to(std::move(call.responder)));
    } else if (method == "Snapshot" || method == "Restore") {
        std::string name = TRY(name_of(call));
        Fd file = TRY(take_file(call));
        const auto verb =
            method == "Snapshot" ? &StorageService::snapshot : &StorageService::restore;
        (service.*verb)(std::move(name), std::move(file), respond_to(std::move(call.responder)));
    } else {
        return Error(Code::Unsupported, "no method '" + method + "'");
    }
    return {};
}

}  // namespace

std::string_view to_string(VolumeKind kind) {
    switch (kind) {
        case VolumeKind::Zram:
            return "zram";
        case VolumeKind::File:
            return "file";
        case VolumeKind::Overlay:
            return "overlay";
    }
    std::unreachable();
}

std::optional<VolumeKind> volume_kind(std::string_view text) {
    for (const VolumeKind kind : {VolumeKind::Zram, VolumeKind::File, VolumeKind::Overlay}) {
        if (text == to_string(kind)) {
            return kind;
        }
    }
    return std::nullopt;
}

std::string_view to_string(FrontEnd front_end) {
    return front_end == FrontEnd::Ublk ? "ublk" : "vhost-user";
}

std::optional<FrontEnd> front_end(std::string_view text) {
    for (const FrontEnd candidate : {FrontEnd::Ublk, FrontEnd::VhostUser}) {
        if (text == to_string(candidate)) {
            return candidate;
        }
    }
    return std::nullopt;
}

Result<void> check_storage_name(std::string_view name, std::string_view what) {
    const auto is_allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '.' || c == '_' || c == '-';
    };
    if (name.empty() || name.size() > kNameMax || name.front() == '.' ||
        !std::ranges::all_of(name, is_allowed)) {
        // Not quoted: it may hold anything, and be megabytes of it.
        return invalid(std::string(what) + ": must be 1 to " + std::to_string(kNameMax) +
                       " of A-Z a-z 0-9 . _ - and not begin with a dot");
    }
    return {};
}

void StorageClient::create(const VolumeSpec& volume, runtime::OnResult<void> done) {
    channel_->call(kService, "Create", to_message(volume).SerializeAsString(), {},
                   reply_to(std::move(done)));
}

void StorageClient::attach(const std::string& name, const AttachSpec& how,
                           runtime::OnResult<std::string> done) {
    channel_->call(
        kService, "Attach", to_message(name, how).SerializeAsString(), {},
        reply_to<pb::AttachResponse, std::string>(
            std::move(done), [](const pb::AttachResponse& response) { return response.path(); }));
}

void StorageClient::resize(const std::string& name, Bytes capacity, runtime::OnResult<void> done) {
    pb::ResizeRequest request;
    request.set_name(name);
    request.set_capacity(capacity.value());
    channel_->call(kService, "Resize", request.SerializeAsString(), {}, reply_to(std::move(done)));
}

void StorageClient::call_named(std::string_view method, const std::string& name,
                               std::span<const FdRef> fds, runtime::OnResult<void> done) {
    pb::NameRequest request;
    request.set_name(name);
    channel_->call(kService, method, request.SerializeAsString(), {.deadline = {}, .fds = fds},
                   reply_to(std::move(done)));
}

void StorageClient::detach(const std::string& name, runtime::OnResult<void> done) {
    call_named("Detach", name, {}, std::move(done));
}

void StorageClient::snapshot(const std::string& name, FdRef file, runtime::OnResult<void> done) {
    call_named("Snapshot", name, std::array{file}, std::move(done));
}

void StorageClient::restore(const std::string& name, FdRef file, runtime::OnResult<void> done) {
    call_named("Restore", name, std::array{file}, std::move(done));
}

void StorageClient::remove(const std::string& name, runtime::OnResult<void> done) {
    call_named("Delete", name, {}, std::move(done));
}

void StorageClient::list(runtime::OnResult<std::vector<VolumeInfo>> done) {
    channel_->call(kService, "List", pb::Empty().SerializeAsString(), {},
                   reply_to<pb::ListResponse, std::vector<VolumeInfo>>(
                       std::move(done),
                       [](const pb::ListResponse& response) { return from_message(response); }));
}

void StorageClient::stats(runtime::OnResult<StorageStats> done) {
    channel_->call(kService, "Stats", pb::Empty().SerializeAsString(), {},
                   reply_to<pb::StatsResponse, StorageStats>(
                       std::move(done),
                       [](const pb::StatsResponse& response) { return from_message(response); }));
}

void dispatch(StorageService& service, runtime::Channel::Call call) {
    // Whoever does not answer leaves the responder with us.
    if (Result<void> dispatched = dispatch_checked(service, call); !dispatched) {
        call.responder.respond(std::move(dispatched).error());
    }
}

}  // namespace pepita::storage::api
