#include "runtime/container/cgroup_stats.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

struct Source {
    std::uint64_t ContainerStats::* member;
    const char* file;
    std::string_view key;  // "": the file is the number
};

// Linux Documentation/admin-guide/cgroup-v2.rst
constexpr std::array kSources{
    Source{.member = &ContainerStats::cpu_usage_us, .file = "cpu.stat", .key = "usage_usec"},
    Source{.member = &ContainerStats::cpu_user_us, .file = "cpu.stat", .key = "user_usec"},
    Source{.member = &ContainerStats::cpu_system_us, .file = "cpu.stat", .key = "system_usec"},
    Source{
        .member = &ContainerStats::cpu_throttled_us, .file = "cpu.stat", .key = "throttled_usec"},
    Source{.member = &ContainerStats::memory_bytes, .file = "memory.current", .key = ""},
    Source{.member = &ContainerStats::memory_anonymous_bytes, .file = "memory.stat", .key = "anon"},
    Source{.member = &ContainerStats::memory_inactive_file_bytes,
           .file = "memory.stat",
           .key = "inactive_file"},
    Source{.member = &ContainerStats::page_faults, .file = "memory.stat", .key = "pgfault"},
    Source{
        .member = &ContainerStats::page_faults_major, .file = "memory.stat", .key = "pgmajfault"},
    Source{.member = &ContainerStats::oom_kills, .file = "memory.events", .key = "oom_kill"},
    Source{.member = &ContainerStats::pids, .file = "pids.current", .key = ""}};

// The number of "key number\n"; 0 where there is none.
std::uint64_t number_of(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (!key.empty() && !(line.starts_with(key) && line.substr(key.size()).starts_with(' '))) {
            continue;
        }
        line.remove_prefix(key.empty() ? 0 : key.size() + 1);
        std::uint64_t number = 0;
        (void)std::from_chars(line.data(), line.data() + line.size(), number);
        return number;
    }
    return 0;
}

}  // namespace

Result<ContainerStats> read_stats(const std::string& directory) {
    ContainerStats stats;
    std::string file;
    std::string text;
    for (const Source& source : kSources) {
        if (file != source.file) {
            file = source.file;
            Result<std::string> read = read_file(std::string(directory).append("/").append(file));
            if (!read && read.error().sys_errno() != ENOENT) {
                return std::move(read).error();
            }
            text = read.value_or("");
        }
        stats.*source.member = number_of(text, source.key);
    }
    return stats;
}

}  // namespace pepita::runtime::container
