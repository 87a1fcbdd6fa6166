#include "storage/cli/tables.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"

namespace pepita::storage::cli {
namespace {

using api::StorageStats;
using api::StorageUse;
using api::VolumeInfo;
using Row = std::vector<std::string>;

Bytes bytes_of(std::uint64_t pages) { return to_bytes(Pages(pages)); }

/// The first `text_columns` to the left, as the last; numbers between them to the right.
std::string aligned(std::span<const Row> rows, std::size_t text_columns) {
    std::vector<std::size_t> widths(rows.front().size());
    for (const Row& row : rows) {
        for (std::size_t column = 0; column < row.size(); ++column) {
            widths[column] = std::max(widths[column], row[column].size());
        }
    }
    std::string out;
    for (const Row& row : rows) {
        for (std::size_t column = 0; column + 1 < row.size(); ++column) {
            const std::string padding(widths[column] - row[column].size(), ' ');
            const bool is_text = column < text_columns;
            out.append(is_text ? row[column] + padding : padding + row[column]).append("  ");
        }
        out.append(row.back()).append("\n");
    }
    return out;
}

/// a/b to two digits behind the point; "-" for b of 0.
std::string ratio(Bytes a, Bytes b) {
    if (b.value() == 0) {
        return "-";
    }
    const auto hundredths = static_cast<std::uint64_t>(
        std::llround(100.0 * static_cast<double>(a.value()) / static_cast<double>(b.value())));
    std::string text =
        std::to_string(hundredths / 100) + "." + std::to_string(hundredths % 100 / 10);
    return text + std::to_string(hundredths % 10);
}

Bytes saved(const StorageUse& use) {
    const Bytes stored = bytes_of(use.pages.stored);
    return stored > use.used ? stored - use.used : Bytes(0);
}

std::string place_of(const VolumeInfo& volume) {
    return volume.attachment ? volume.attachment->path : "-";
}

Row numbers_of(const StorageUse& use, std::string name) {
    return {std::move(name),
            human(bytes_of(use.pages.stored)),
            human(bytes_of(use.pages.zero)),
            human(bytes_of(use.pages.same)),
            human(bytes_of(use.shared)),
            human(use.payload),
            human(use.cold_payload),
            ratio(bytes_of(use.pages.stored), use.payload)};
}

}  // namespace

std::string human(Bytes size) {
    constexpr std::array<std::string_view, 6> units{"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    std::uint64_t value = size.value();
    std::size_t unit = 0;
    std::uint64_t tenths = 0;
    while (value >= 1024 && unit + 1 < units.size()) {
        tenths = value % 1024 * 10 / 1024;
        value /= 1024;
        ++unit;
    }
    std::string text = std::to_string(value);
    if (unit != 0) {
        text.append(".").append(std::to_string(tenths));
    }
    return text.append(" ").append(units[unit]);
}

std::string list_table(std::span<const VolumeInfo> volumes) {
    std::vector<Row> rows{{"NAME", "KIND", "DOMAIN", "SIZE", "STORED", "ATTACHED"}};
    for (const VolumeInfo& volume : volumes) {
        rows.push_back({volume.spec.name, std::string(to_string(volume.spec.kind)),
                        volume.spec.domain, human(volume.spec.capacity),
                        human(bytes_of(volume.pages.stored)), place_of(volume)});
    }
    return aligned(rows, 3);
}

std::string stats_table(const StorageStats& stats) {
    std::vector<Row> rows{
        {"DOMAIN", "STORED", "ZERO", "SAME", "SHARED", "PACKED", "COLD", "RATIO"}};
    for (const StorageUse& domain : stats.domains) {
        rows.push_back(numbers_of(domain, domain.domain));
    }
    rows.push_back(numbers_of(stats.store, "all"));
    const StorageUse& store = stats.store;
    return aligned(rows, 1) + "\nmemory: " + human(store.used) + " of " + human(store.limit) +
           ", " + human(store.metadata) + " of it tables; " + human(saved(store)) + " saved\n";
}

std::string top_view(const StorageStats& stats, std::span<const VolumeInfo> volumes) {
    const StorageUse& store = stats.store;
    const Bytes stored = bytes_of(store.pages.stored);
    std::string text = "stored " + human(stored) + "   memory " + human(store.used) + " of " +
                       human(store.limit) + "   saved " + human(saved(store)) + "   ratio " +
                       ratio(stored, store.used) + "\n\n";
    std::vector<Row> rows{
        {"NAME", "DOMAIN", "SIZE", "STORED", "ZERO", "RAW", "PACKED", "RATIO", "ATTACHED"}};
    for (const VolumeInfo& volume : volumes) {
        const Bytes volume_stored = bytes_of(volume.pages.stored);
        rows.push_back({volume.spec.name, volume.spec.domain, human(volume.spec.capacity),
                        human(volume_stored), human(bytes_of(volume.pages.zero)),
                        human(bytes_of(volume.pages.raw)), human(volume.pages.packed),
                        ratio(volume_stored, volume.pages.packed), place_of(volume)});
    }
    return text + aligned(rows, 2);
}

std::string image_table(std::span<const ImageInfo> images) {
    std::vector<Row> rows{{"NAME", "ID", "SIZE"}};
    for (const ImageInfo& image : images) {
        const std::string id = image.id.hex().substr(0, 12);
        bool has_name = false;
        for (const std::string& name : image.names) {
            if (name.find('@') == std::string::npos) {
                rows.push_back({name, id, human(image.size)});
                has_name = true;
            }
        }
        if (!has_name) {
            rows.push_back(
                {image.names.empty() ? "-" : image.names.front(), id, human(image.size)});
        }
    }
    return aligned(rows, 2);
}

}  // namespace pepita::storage::cli
