#include "runtime/container/cgroup_stats.h"

#include <dirent.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/cgroup.h"

namespace pepita::runtime::container {
namespace {

struct Source {
    std::uint64_t ContainerStats::* member;
    const char* file;
    std::string_view key;  // "": the file is the number; "key=": the sum of those in all lines
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
    Source{.member = &ContainerStats::memory_limit_hits, .file = "memory.events", .key = "max"},
    Source{.member = &ContainerStats::pids, .file = "pids.current", .key = ""},
    Source{.member = &ContainerStats::cpu_periods, .file = "cpu.stat", .key = "nr_periods"},
    Source{.member = &ContainerStats::cpu_throttled_periods,
           .file = "cpu.stat",
           .key = "nr_throttled"},
    Source{.member = &ContainerStats::memory_limit_bytes, .file = "memory.max", .key = ""},
    Source{.member = &ContainerStats::memory_peak_bytes, .file = "memory.peak", .key = ""},
    Source{.member = &ContainerStats::memory_file_bytes, .file = "memory.stat", .key = "file"},
    Source{.member = &ContainerStats::memory_mapped_bytes,
           .file = "memory.stat",
           .key = "file_mapped"},
    Source{.member = &ContainerStats::memory_kernel_bytes, .file = "memory.stat", .key = "kernel"},
    Source{.member = &ContainerStats::memory_swap_bytes, .file = "memory.swap.current", .key = ""},
    Source{.member = &ContainerStats::pids_limit, .file = "pids.max", .key = ""},
    Source{.member = &ContainerStats::io_read_bytes, .file = "io.stat", .key = "rbytes="},
    Source{.member = &ContainerStats::io_written_bytes, .file = "io.stat", .key = "wbytes="},
    Source{.member = &ContainerStats::io_reads, .file = "io.stat", .key = "rios="},
    Source{.member = &ContainerStats::io_writes, .file = "io.stat", .key = "wios="},
    Source{.member = &ContainerStats::huge_page_bytes, .file = "hugetlb.2MB.current", .key = ""}};

struct PressureSource {
    Pressure ContainerStats::* member;
    const char* file;
};
constexpr std::array kPressures{
    PressureSource{.member = &ContainerStats::cpu_pressure, .file = "cpu.pressure"},
    PressureSource{.member = &ContainerStats::memory_pressure, .file = "memory.pressure"},
    PressureSource{.member = &ContainerStats::io_pressure, .file = "io.pressure"}};

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

// "0.50" is 50.
std::uint64_t hundredths_of(std::string_view line, std::string_view key) {
    const std::size_t at = line.find(key);
    if (at == std::string_view::npos) {
        return 0;
    }
    const std::string_view text = line.substr(at + key.size());
    const std::size_t point = text.find('.');
    return (leading_number(text) * 100) +
           (point == std::string_view::npos ? 0 : leading_number(text.substr(point + 1, 2)));
}

// A line "some avg10=0.00 avg60=0.00 avg300=0.00 total=12".
Stall stall_of(std::string_view text, std::string_view kind) {
    const std::size_t at = text.find(kind);
    if (at == std::string_view::npos) {
        return {};
    }
    const std::string_view line = text.substr(at, text.substr(at).find('\n'));
    return {.total_us = sum_of(line, "total="),
            .average_10s = hundredths_of(line, "avg10="),
            .average_60s = hundredths_of(line, "avg60="),
            .average_300s = hundredths_of(line, "avg300=")};
}

// Of a file that may be missing with its controller, or be of no use (pressure, with psi=0).
Result<std::string> text_of(const std::string& path) {
    Result<std::string> read = read_file(path);
    if (!read && (read.error().sys_errno() == ENOENT || read.error().sys_errno() == EOPNOTSUPP)) {
        return std::string();
    }
    return read;
}

// Each costs a system call, and the guest's only thread makes it.
constexpr std::size_t kOpenFilesMax = 10'000;

// Of a process that has ended: none.
void count_open_files(pid_t pid, std::size_t& left, ContainerStats& stats) {
    const std::string path = "/proc/" + std::to_string(pid) + "/fd";
    const std::unique_ptr<DIR, int (*)(DIR*)> entries(::opendir(path.c_str()), ::closedir);
    constexpr std::string_view socket = "socket:";
    while (const dirent* entry = entries && left > 0 ? ::readdir(entries.get()) : nullptr) {
        std::array<char, socket.size()> target{};
        const ssize_t size =
            ::readlinkat(::dirfd(entries.get()), entry->d_name, target.data(), target.size());
        if (size > 0) {  // else it is "." or ".."
            --left;
            ++stats.open_files;
            stats.sockets +=
                std::string_view(target.data(), static_cast<std::size_t>(size)) == socket ? 1U : 0U;
        }
    }
}

std::uint64_t value_of(std::string_view text, std::string_view key) {
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
            text = TRY(text_of(std::string(directory).append("/").append(file)));
        }
        stats.*source.member = value_of(text, source.key);
    }
    for (const PressureSource& source : kPressures) {
        text = TRY(text_of(std::string(directory).append("/").append(source.file)));
        stats.*source.member = {.some = stall_of(text, "some "), .full = stall_of(text, "full ")};
    }
    std::size_t left = kOpenFilesMax;
    visit_processes(directory, [&](pid_t pid) {
        ++stats.processes;
        count_open_files(pid, left, stats);
    });
    return stats;
}

void read_first_process(pid_t pid, ContainerStats& stats) {
    rlimit limit{};
    if (::prlimit(pid, RLIMIT_NOFILE, nullptr, &limit) == 0) {
        stats.open_files_limit = limit.rlim_cur;
    }
    struct statvfs root{};
    if (::statvfs(("/proc/" + std::to_string(pid) + "/root/").c_str(), &root) == 0) {
        stats.disk_bytes = root.f_blocks * root.f_frsize;
        stats.disk_free_bytes = root.f_bavail * root.f_frsize;
        stats.disk_inodes = root.f_files;
        stats.disk_free_inodes = root.f_favail;
    }
}

}  // namespace pepita::runtime::container
