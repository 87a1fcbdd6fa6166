#include "storage/daemon/metrics.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::daemon {
namespace {

using api::StorageStats;
using api::StorageUse;
using api::VolumeInfo;

/// One number of each `Subject`: of the store or a domain, or of a volume.
template <typename Subject>
struct Metric {
    std::string_view name;
    std::string_view help;
    std::uint64_t (*value)(const Subject& subject);
};

template <typename Subject>
constexpr Metric<Subject> metric(std::string_view name, std::string_view help,
                                 std::uint64_t (*value)(const Subject&)) {
    return {.name = name, .help = help, .value = value};
}

std::uint64_t bytes_of(std::uint64_t pages) { return to_bytes(Pages(pages)).value(); }

constexpr auto kStore = std::to_array<Metric<StorageUse>>({
    metric<StorageUse>("pepita_storage_limit_bytes", "Memory that the store may take.",
                       [](const StorageUse& use) { return use.limit.value(); }),
    metric<StorageUse>("pepita_storage_used_bytes",
                       "Memory that the store takes, tables and indexes included.",
                       [](const StorageUse& use) { return use.used.value(); }),
    metric<StorageUse>("pepita_storage_metadata_bytes",
                       "Of the memory used: all but the packed pages.",
                       [](const StorageUse& use) { return use.metadata.value(); }),
});

constexpr auto kDomain = std::to_array<Metric<StorageUse>>({
    metric<StorageUse>("pepita_storage_domain_stored_bytes",
                       "What is stored, before anything is saved.",
                       [](const StorageUse& use) { return bytes_of(use.pages.stored); }),
    metric<StorageUse>("pepita_storage_domain_payload_bytes", "Packed pages, each content once.",
                       [](const StorageUse& use) { return use.payload.value(); }),
    metric<StorageUse>("pepita_storage_domain_shared_bytes",
                       "Pages that equal another, not stored again.",
                       [](const StorageUse& use) { return bytes_of(use.shared); }),
    metric<StorageUse>("pepita_storage_domain_cold_objects",
                       "Of the contents: idle, packed smaller.",
                       [](const StorageUse& use) { return use.cold; }),
    metric<StorageUse>("pepita_storage_domain_cold_payload_bytes", "Of the payload: theirs.",
                       [](const StorageUse& use) { return use.cold_payload.value(); }),
    metric<StorageUse>("pepita_storage_domain_objects", "Different contents.",
                       [](const StorageUse& use) { return use.objects; }),
});

constexpr auto kVolume = std::to_array<Metric<VolumeInfo>>({
    metric<VolumeInfo>("pepita_storage_volume_capacity_bytes", "Size of the device.",
                       [](const VolumeInfo& volume) { return volume.spec.capacity.value(); }),
    metric<VolumeInfo>("pepita_storage_volume_stored_bytes", "Written and not discarded.",
                       [](const VolumeInfo& volume) { return bytes_of(volume.pages.stored); }),
    metric<VolumeInfo>("pepita_storage_volume_zero_bytes", "Of the stored: zeros.",
                       [](const VolumeInfo& volume) { return bytes_of(volume.pages.zero); }),
    metric<VolumeInfo>("pepita_storage_volume_same_bytes",
                       "Of the stored: one other byte, over and over.",
                       [](const VolumeInfo& volume) { return bytes_of(volume.pages.same); }),
    metric<VolumeInfo>("pepita_storage_volume_raw_bytes", "Of the stored: not compressible.",
                       [](const VolumeInfo& volume) { return bytes_of(volume.pages.raw); }),
    metric<VolumeInfo>("pepita_storage_volume_packed_bytes",
                       "Packed pages, before equal ones are shared.",
                       [](const VolumeInfo& volume) { return volume.pages.packed.value(); }),
    metric<VolumeInfo>(
        "pepita_storage_volume_attached", "Whether a front end serves it.",
        [](const VolumeInfo& volume) -> std::uint64_t { return volume.attachment ? 1 : 0; }),
});

void add_head(std::string& text, std::string_view name, std::string_view help) {
    text.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ");
    text.append(name).append(" gauge\n");
}

void add_sample(std::string& text, std::string_view name, std::string_view labels,
                std::uint64_t value) {
    text.append(name).append(labels).append(" ").append(std::to_string(value)).append("\n");
}

// Names and domains hold no character that a label would have to escape.
std::string label(std::string_view key, std::string_view value) {
    return std::string(key).append("=\"").append(value).append("\"");
}

}  // namespace

std::string prometheus_text(const StorageStats& stats, std::span<const VolumeInfo> volumes) {
    std::string text;
    for (const Metric<StorageUse>& each : kStore) {
        add_head(text, each.name, each.help);
        add_sample(text, each.name, "", each.value(stats.store));
    }
    for (const Metric<StorageUse>& each : kDomain) {
        add_head(text, each.name, each.help);
        for (const StorageUse& domain : stats.domains) {
            add_sample(text, each.name, "{" + label("domain", domain.domain) + "}",
                       each.value(domain));
        }
    }
    for (const Metric<VolumeInfo>& each : kVolume) {
        add_head(text, each.name, each.help);
        for (const VolumeInfo& volume : volumes) {
            add_sample(text, each.name,
                       "{" + label("volume", volume.spec.name) + "," +
                           label("domain", volume.spec.domain) + "}",
                       each.value(volume));
        }
    }
    return text;
}

}  // namespace pepita::storage::daemon
