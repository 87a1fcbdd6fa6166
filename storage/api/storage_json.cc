#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "runtime/rpc/json.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::api {
namespace {

using runtime::oci::Node;
using runtime::oci::Object;
using runtime::oci::OrderedJson;

OrderedJson to_value(const PageCounts& pages) {
    return {{"stored", pages.stored}, {"zero", pages.zero},
            {"same", pages.same},     {"content", pages.content},
            {"raw", pages.raw},       {"packedBytes", pages.packed.value()}};
}

OrderedJson to_value(const VolumeSpec& spec) {
    OrderedJson out = {{"name", spec.name},
                       {"kind", to_string(spec.kind)},
                       {"capacityBytes", spec.capacity.value()},
                       {"domain", spec.domain}};
    if (!spec.file.empty()) {
        out["file"] = spec.file;
    }
    if (spec.direct) {
        out["direct"] = true;
    }
    return out;
}

OrderedJson to_value(const Attachment& attachment) {
    return {{"frontEnd", to_string(attachment.spec.front_end)},
            {"path", attachment.path},
            {"queues", attachment.spec.queues},
            {"depth", attachment.spec.depth},
            {"readOnly", attachment.spec.read_only}};
}

OrderedJson without_pages(const VolumeInfo& info) {
    OrderedJson out = to_value(info.spec);
    if (info.attachment) {
        out["attachment"] = to_value(*info.attachment);
    }
    return out;
}

OrderedJson to_value(const StorageUse& use) {
    OrderedJson out = OrderedJson::object();
    if (!use.domain.empty()) {
        out["domain"] = use.domain;
    }
    out["pages"] = to_value(use.pages);
    out["objects"] = use.objects;
    out["sharedPages"] = use.shared;
    out["payloadBytes"] = use.payload.value();
    out["coldObjects"] = use.cold;
    out["coldPayloadBytes"] = use.cold_payload.value();
    out["usedBytes"] = use.used.value();
    out["metadataBytes"] = use.metadata.value();
    out["limitBytes"] = use.limit.value();
    return out;
}

Result<std::string> text_of(const Object& object, std::string_view name) {
    return TRY(object.require(name)).text();
}

Result<std::uint64_t> number_of(const Object& object, std::string_view name, std::uint64_t max) {
    return TRY(object.require(name)).natural(max);
}

Result<Attachment> read_attachment(const Node& node) {
    const Object object = TRY(node.object());
    Attachment attachment;
    const std::string name = TRY(text_of(object, "frontEnd"));
    const std::optional<FrontEnd> kind = front_end(name);
    if (!kind) {
        return node.invalid("no such front end: " + runtime::oci::in_quotes(name));
    }
    attachment.spec.front_end = *kind;
    attachment.path = TRY(text_of(object, "path"));
    attachment.spec.queues =
        static_cast<std::uint32_t>(TRY(number_of(object, "queues", AttachSpec::kQueuesMax)));
    attachment.spec.depth =
        static_cast<std::uint32_t>(TRY(number_of(object, "depth", AttachSpec::kDepthMax)));
    attachment.spec.read_only = TRY(TRY(object.require("readOnly")).boolean());
    return attachment;
}

Result<VolumeInfo> read_volume(const Node& node) {
    const Object object = TRY(node.object());
    VolumeInfo info;
    info.spec.name = TRY(text_of(object, "name"));
    TRY(check_storage_name(info.spec.name, "name"));
    const std::string kind_name = TRY(text_of(object, "kind"));
    const std::optional<VolumeKind> kind = volume_kind(kind_name);
    if (!kind) {
        return node.invalid("no such kind of volume: " + runtime::oci::in_quotes(kind_name));
    }
    info.spec.kind = *kind;
    info.spec.capacity = Bytes(TRY(number_of(object, "capacityBytes", UINT64_MAX)));
    info.spec.domain = TRY(text_of(object, "domain"));
    TRY(check_storage_name(info.spec.domain, "domain"));
    info.spec.file = TRY(object.text_or_empty("file"));
    if (const std::optional<Node> direct = object.find("direct")) {
        info.spec.direct = TRY(direct->boolean());
    }
    if (const std::optional<Node> attachment = object.find("attachment")) {
        info.attachment = TRY(read_attachment(*attachment));
    }
    return info;
}

Result<std::vector<VolumeInfo>> read_state(std::string_view text) {
    const runtime::oci::Json document = TRY(runtime::oci::parse_json(text));
    const Object object = TRY(Node(document, "").object());
    (void)TRY(number_of(object, "version", 1));
    std::vector<VolumeInfo> volumes;
    for (const Node& node : TRY(TRY(object.require("volumes")).elements())) {
        volumes.push_back(TRY(read_volume(node)));
    }
    return volumes;
}

}  // namespace

std::string to_json(std::span<const VolumeInfo> volumes) {
    OrderedJson out = OrderedJson::array();
    for (const VolumeInfo& info : volumes) {
        OrderedJson volume = without_pages(info);
        volume["pages"] = to_value(info.pages);
        out.push_back(std::move(volume));
    }
    return runtime::oci::dump(out, 2) + "\n";
}

std::string to_json(const StorageStats& stats) {
    OrderedJson out = to_value(stats.store);
    out["domains"] = OrderedJson::array();
    for (const StorageUse& domain : stats.domains) {
        out["domains"].push_back(to_value(domain));
    }
    return runtime::oci::dump(out, 2) + "\n";
}

std::string storage_state_text(std::span<const VolumeInfo> volumes) {
    OrderedJson list = OrderedJson::array();
    for (const VolumeInfo& info : volumes) {
        list.push_back(without_pages(info));
    }
    return runtime::oci::dump({{"version", 1}, {"volumes", list}}, 2) + "\n";
}

Result<std::vector<VolumeInfo>> parse_storage_state(std::string_view text) {
    Result<std::vector<VolumeInfo>> volumes = read_state(text);
    if (!volumes) {
        return Error(Code::DataLoss, volumes.error().message());
    }
    return volumes;
}

}  // namespace pepita::storage::api
