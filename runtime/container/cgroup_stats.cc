#include "runtime/container/cgroup_stats.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
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
    std::string_view key;  // "": the file is the number; "key=": the sum of those in all lines
};

// Of a pressure file: "some avg10=0.00 avg60=0.00 avg300=0.00 total=12\nfull ...".
constexpr std::string_view kStalled = "some";

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
    Source{.member = &ContainerStats::pids, .file = "pids.current", .key = ""},
    Source{.member = &ContainerStats::cpu_periods, .file = "cpu.stat", .key = "nr_periods"},
    Source{.member = &ContainerStats::cpu_throttled_periods,
           .file = "cpu.stat",
           .key = "nr_throttled"},
    Source{.member = &ContainerStats::cpu_stalled_us, .file = "cpu.pressure", .key = kStalled},
    Source{.member = &ContainerStats::memory_limit_bytes, .file = "memory.max", .key = ""},
    Source{.member = &ContainerStats::memory_peak_bytes, .file = "memory.peak", .key = ""},
    Source{.member = &ContainerStats::memory_file_bytes, .file = "memory.stat", .key = "file"},
    Source{.member = &ContainerStats::memory_swap_bytes, .file = "memory.swap.current", .key = ""},
    Source{
        .member = &ContainerStats::memory_stalled_us, .file = "memory.pressure", .key = kStalled},
    Source{.member = &ContainerStats::pids_limit, .file = "pids.max", .key = ""},
    Source{.member = &ContainerStats::io_read_bytes, .file = "io.stat", .key = "rbytes="},
    Source{.member = &ContainerStats::io_written_bytes, .file = "io.stat", .key = "wbytes="},
    Source{.member = &ContainerStats::io_reads, .file = "io.stat", .key = "rios="},
    Source{.member = &ContainerStats::io_writes, .file = "io.stat", .key = "wios="},
    Source{.member = &ContainerStats::io_stalled_us, .file = "io.pressure", .key = kStalled}};

std::uint64_t leading_number(std::string_view text) {
    std::uint64_t number = 0;
    (void)std::from_chars(text.data(), text.data() + text.size(), number);
    return number;
}

// Of "8:0 rbytes=1 wbytes=2\n8:16 rbytes=3 ...". No key is the end of another one.
std::uint64_t sum_of(std::string_view text, std::string_view key) {
    std::uint64_t sum = 0;
    for (std::size_t at = text.find(key); at != std::string_view::npos;
         at = text.find(key, at + key.size())) {
        sum += leading_number(text.substr(at + key.size()));
    }
    return sum;
}

// The number of "key number\n"; 0 where there is none.
std::uint64_t number_of(std::string_view text, std::string_view key) {
    while (!text.empty()) {
        std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (!key.empty() && !(line.starts_with(key) && line.substr(key.size()).starts_with(' '))) {
            continue;
        }
        line.remove_prefix(key.empty() ? 0 : key.size() + 1);
        return leading_number(line);
    }
    return 0;
}

std::uint64_t value_of(std::string_view text, std::string_view key) {
    if (key == kStalled) {
        return sum_of(text.substr(0, text.find('\n')), "total=");
    }
    return key.ends_with('=') ? sum_of(text, key) : number_of(text, key);
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
        stats.*source.member = value_of(text, source.key);
    }
    return stats;
}

}  // namespace pepita::runtime::container
