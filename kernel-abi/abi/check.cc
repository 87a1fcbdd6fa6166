#include "kernel-abi/abi/check.h"

#include <fcntl.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/abi/btf.h"
#include "kernel-abi/abi/layouts.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"

namespace pepita::abi_check {
namespace {

constexpr std::size_t kBtfMax = std::size_t{256} << 20U;
constexpr std::string_view kKernel = "vmlinux";

std::string bytes_at(std::uint64_t size, std::uint64_t offset) {
    return std::to_string(size) + " B at " + std::to_string(offset);
}

struct Found {
    const btf::Types* in;
    btf::Types::Id id;
};

std::optional<Found> find(std::string_view name, const btf::Types& kernel,
                          std::span<const btf::Types> modules) {
    if (const auto id = kernel.find(name)) {
        return Found{.in = &kernel, .id = *id};
    }
    for (const btf::Types& module : modules) {
        if (const auto id = module.find(name)) {
            return Found{.in = &module, .id = *id};
        }
    }
    return std::nullopt;
}

// The first of the names with '|' between that there is.
Result<btf::Types::Place> place_of(const Found& type, std::string_view names) {
    Result<btf::Types::Place> place = Error(Code::NotFound, "no such member");
    while (!names.empty()) {
        const std::string_view name = names.substr(0, names.find('|'));
        place = type.in->place_of(type.id, name);
        if (place || place.error().code() != Code::NotFound) {
            return place;
        }
        names.remove_prefix(std::min(name.size() + 1, names.size()));
    }
    return place;
}

/// "ublk_params.dma (Linux 6.15)".
std::string with_version(std::string_view name, Version since) {
    return std::string(name) + " (Linux " + std::to_string(since.major) + "." +
           std::to_string(since.minor) + ")";
}

Result<void> compare_type(const ExpectedType& ours, const Found& theirs, Report& report) {
    const std::string name(ours.name);
    const std::uint64_t size = TRY(theirs.in->size_of(theirs.id), name);
    const bool fits = ours.length == Length::Exact ? size == ours.size : size >= ours.size;
    if (fits) {
        ++report.same;
    } else {
        report.differences.push_back(name + ": ours has " + std::to_string(ours.size) +
                                     " B, the kernel's " + std::to_string(size) + " B");
    }
    for (const ExpectedMember& member : ours.members) {
        if (member.name.empty()) {
            continue;
        }
        const std::string path = name + "." + std::string(member.name);
        const Result<btf::Types::Place> place = place_of(theirs, member.name);
        if (!place && place.error().code() != Code::NotFound) {
            return Error(place.error().code(), path + ": " + place.error().message());
        }
        if (!place && member.since != Version()) {
            report.absent.push_back(with_version(path, member.since));
        } else if (!place) {
            report.differences.push_back(path + ": the kernel has no such member");
        } else if (*place == btf::Types::Place{.offset_bits = member.offset * 8,
                                               .size_bits = member.size * 8}) {
            ++report.same;
        } else {
            report.differences.push_back(path + ": ours is " +
                                         bytes_at(member.size, member.offset) + ", the kernel's " +
                                         bytes_at(place->size_bits / 8, place->offset_bits / 8));
        }
    }
    return {};
}

}  // namespace

Result<Report> compare(std::span<const ExpectedType> types,
                       std::span<const ExpectedEnumerator> enumerators, const btf::Types& kernel,
                       std::span<const btf::Types> modules) {
    Report report;
    for (const ExpectedType& type : types) {
        if (const auto found = find(type.name, kernel, modules)) {
            TRY(compare_type(type, *found, report));
        } else {
            report.absent.emplace_back(type.name);
        }
    }
    for (const ExpectedEnumerator& ours : enumerators) {
        auto theirs = kernel.value_of(ours.name);
        for (const btf::Types& module : modules) {
            theirs = theirs ? theirs : module.own_value_of(ours.name);
        }
        if (!theirs) {
            report.absent.emplace_back(ours.name);
        } else if (*theirs == ours.value) {
            ++report.same;
        } else {
            report.differences.push_back(std::string(ours.name) + ": ours is " +
                                         std::to_string(ours.value) + ", the kernel's " +
                                         std::to_string(*theirs));
        }
    }
    return report;
}

Result<Report> check_kernel(const std::string& directory) {
    std::list<std::string> files;  // what Types borrow
    const auto parse = [&](const std::string& path, const btf::Types* base) -> Result<btf::Types> {
        const Fd file = TRY(open_file(path.c_str(), O_RDONLY));
        files.push_back(TRY(read_all(file.ref(), kBtfMax, path)));
        return TRY(btf::Types::parse(std::as_bytes(std::span(files.back())), base), "'", path, "'");
    };
    const btf::Types kernel = TRY(parse(directory + "/" + std::string(kKernel), nullptr));
    const std::vector<ExpectedType> types = expected_types();
    const std::vector<ExpectedEnumerator> enumerators = expected_enumerators();
    Report without_modules = TRY(compare(types, enumerators, kernel));
    if (without_modules.absent.empty()) {
        return without_modules;
    }
    std::vector<btf::Types> modules;
    std::error_code error;
    for (std::filesystem::directory_iterator at(directory, error), end; !error && at != end;
         at.increment(error)) {
        if (at->path().filename() != kKernel) {
            modules.push_back(TRY(parse(at->path().string(), &kernel)));
        }
    }
    if (error) {
        return Error::from_errno(error.value(), "read '" + directory + "'");
    }
    return compare(types, enumerators, kernel, modules);
}

}  // namespace pepita::abi_check
