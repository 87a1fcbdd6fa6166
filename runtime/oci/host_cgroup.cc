#include "runtime/oci/host_cgroup.h"

#include <fcntl.h>
#include <sys/poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/pod_cgroup.h"

namespace pepita::runtime::oci {
namespace {

constexpr int kRemoveAttempts = 300;
constexpr int kRemovePauseMs = 10;
constexpr std::size_t kMountinfoMax = std::size_t{1} << 20U;
constexpr std::size_t kCpusetMax = 4096;

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(at + 1);
    }
}

/// "a-b.slice" to "/a.slice/a-b.slice"; systemd.slice(5). "-.slice" is the root.
Result<std::string> slice_path(std::string_view slice) {
    constexpr std::string_view suffix = ".slice";
    if (slice == "-.slice") {
        return std::string();
    }
    if (!slice.ends_with(suffix) || slice.contains('/')) {
        return Error(Code::InvalidArgument, "'" + std::string(slice) + "' is no slice");
    }
    const std::string_view name = slice.substr(0, slice.size() - suffix.size());
    std::string path;
    std::string prefix;
    for (const std::string_view part : split(name, '-')) {
        if (part.empty()) {
            return Error(Code::InvalidArgument, "'" + std::string(slice) + "' is no slice");
        }
        prefix += (prefix.empty() ? "" : "-") + std::string(part);
        path += "/" + prefix + std::string(suffix);
    }
    return path;
}

Result<void> write_text(const std::string& path, std::string_view text) {
    const Fd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (!file) {
        return Error::from_errno(errno, "open '" + path + "'");
    }
    if (::write(file.ref().number(), text.data(), text.size()) !=
        static_cast<ssize_t>(text.size())) {
        return Error::from_errno(errno, "write '" + path + "'");
    }
    return {};
}

/// A new group of v1's cpuset takes its parent's: without CPUs no process can enter it.
Result<void> inherit_cpuset(const std::string& directory) {
    const std::string parent = directory.substr(0, directory.rfind('/'));
    for (const char* name : {"/cpuset.cpus", "/cpuset.mems"}) {
        const Fd file = TRY(open_file((parent + name).c_str(), O_RDONLY));
        TRY(write_text(directory + name, TRY(read_all(file.ref(), kCpusetMax, parent + name))));
    }
    return {};
}

/// Appends the directories that it makes to `made`, from the top.
Result<void> make_group(const CgroupMount& mount, std::string_view place,
                        std::vector<std::string>& made) {
    std::string directory = mount.path;
    for (const std::string_view part : split(place.substr(1), '/')) {
        directory += "/" + std::string(part);
        if (::mkdir(directory.c_str(), 0755) == 0) {
            made.push_back(directory);
            if (mount.has_cpuset_v1) {
                TRY(inherit_cpuset(directory));
            }
        } else if (errno != EEXIST) {
            return Error::from_errno(errno, "make cgroup '" + directory + "'");
        }
    }
    return {};
}

}  // namespace

Result<std::string> cgroup_place(std::string_view cgroups_path) {
    const std::vector<std::string_view> parts = split(cgroups_path, ':');
    if (parts.size() == 3 && !cgroups_path.starts_with('/')) {
        const std::string_view slice = parts[0].empty() ? "system.slice" : parts[0];
        const std::string name =
            std::string(parts[1]) + (parts[1].empty() ? "" : "-") + std::string(parts[2]);
        if (parts[2].empty() || name.contains('/')) {
            return Error(Code::InvalidArgument, "'" + name + "' is no scope");
        }
        return TRY(slice_path(slice)) + "/" + name + (name.ends_with(".slice") ? "" : ".scope");
    }
    std::string place;
    for (const std::string_view part : split(cgroups_path, '/')) {
        if (part == "..") {
            return Error(Code::InvalidArgument, "must not contain '..'");
        }
        if (!part.empty() && part != ".") {
            place += "/" + std::string(part);
        }
    }
    if (place.empty()) {
        return Error(Code::InvalidArgument, "must not be the root");
    }
    return place;
}

// Fields: id parent dev root MOUNT-POINT options optional... "-" TYPE source SUPER-OPTIONS;
// proc(5).
std::vector<CgroupMount> cgroup_mounts(std::string_view mountinfo) {
    std::vector<CgroupMount> mounts;
    for (const std::string_view line : split(mountinfo, '\n')) {
        const std::size_t dash = line.find(" - ");
        if (dash == std::string_view::npos) {
            continue;
        }
        const auto before = split(line.substr(0, dash), ' ');
        const auto after = split(line.substr(dash + 3), ' ');
        const bool is_v2 = after[0] == "cgroup2";
        if (before.size() < 5 || after.size() < 3 || (!is_v2 && after[0] != "cgroup")) {
            continue;
        }
        bool has_cpuset = false;
        for (const std::string_view option : split(after[2], ',')) {
            has_cpuset = has_cpuset || (!is_v2 && option == "cpuset");
        }
        mounts.push_back({.path = std::string(before[4]),
                          .root = std::string(before[3]),
                          .options = is_v2 ? "" : std::string(after[2]),
                          .has_cpuset_v1 = has_cpuset});
    }
    return mounts;
}

// Lines: "7:cpu,cpuacct:/a/b", "1:name=systemd:/a/b", of v2 "0::/a/b"; cgroups(7).
std::vector<std::string> cgroups_of(std::span<const CgroupMount> mounts, std::string_view text) {
    std::vector<std::string> groups;
    for (const CgroupMount& mount : mounts) {
        const auto options = split(mount.options, ',');
        for (const std::string_view line : split(text, '\n')) {
            const std::size_t first = line.find(':');
            const std::size_t second = line.find(':', first + 1);
            if (first == std::string_view::npos || second == std::string_view::npos) {
                continue;
            }
            const auto controllers = split(line.substr(first + 1, second - first - 1), ',');
            std::string_view group = line.substr(second + 1);
            const bool is_there = std::ranges::all_of(controllers, [&](std::string_view name) {
                return std::ranges::find(options, name) != options.end();
            });
            const std::string_view root = mount.root == "/" ? "" : std::string_view(mount.root);
            if (!is_there || !group.starts_with(root)) {
                continue;
            }
            group.remove_prefix(root.size());
            if (group.empty() || group.starts_with('/')) {
                groups.push_back(mount.path + (group == "/" ? "" : std::string(group)));
                break;
            }
        }
    }
    return groups;
}

Result<MadeCgroups> make_cgroups(std::span<const CgroupMount> mounts, std::string_view place) {
    MadeCgroups cgroups;
    for (const CgroupMount& mount : mounts) {
        if (Result<void> done = make_group(mount, place, cgroups.made); !done) {
            std::ranges::reverse(cgroups.made);
            for (const std::string& directory : cgroups.made) {
                (void)::rmdir(directory.c_str());
            }
            return std::move(done).error();
        }
        cgroups.groups.push_back(mount.path + std::string(place));
    }
    return cgroups;
}

Result<std::vector<std::string>> make_cgroups(std::string_view cgroups_path) {
    if (cgroups_path.empty()) {
        return std::vector<std::string>();
    }
    const std::string place = TRY(cgroup_place(cgroups_path), "linux.cgroupsPath");
    const Fd file = TRY(open_file("/proc/self/mountinfo", O_RDONLY));
    const std::string mountinfo = TRY(read_all(file.ref(), kMountinfoMax, "mountinfo"));
    return TRY(make_cgroups(cgroup_mounts(mountinfo), place)).groups;
}

Result<void> enter_cgroups(std::span<const std::string> directories) {
    for (const std::string& directory : directories) {
        TRY(write_text(directory + "/cgroup.procs", "0"));
    }
    return {};
}

namespace {

/// Those of others, which do not go while we wait.
bool has_subgroups(const std::string& directory) {
    struct stat about{};
    return ::stat(directory.c_str(), &about) == 0 && about.st_nlink > 2;
}

}  // namespace

void remove_cgroups(std::span<const std::string> directories) {
    std::vector<std::string> all;
    for (const std::string& directory : directories) {
        all.push_back(directory);
        if (directory.ends_with(kRuntimeGroup)) {
            all.push_back(directory.substr(0, directory.size() - kRuntimeGroup.size()));
        }
    }
    int attempts = kRemoveAttempts;  // for all of them, beside one each
    for (const std::string& directory : all) {
        while (::rmdir(directory.c_str()) != 0 && errno == EBUSY && !has_subgroups(directory) &&
               attempts-- > 0) {
            (void)::poll(nullptr, 0, kRemovePauseMs);
        }
    }
}

}  // namespace pepita::runtime::oci
