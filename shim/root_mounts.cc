#include "shim/root_mounts.h"

#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"

namespace pepita::shim {
namespace {

using runtime::RootMount;

struct Flag {
    std::string_view name;
    unsigned long set = 0;
};
// What containerd's snapshotters write, and the kernel takes as flags; the rest is the file
// system's.
constexpr auto kFlags = std::to_array<Flag>({{.name = "ro", .set = MS_RDONLY},
                                             {.name = "rw"},
                                             {.name = "bind", .set = MS_BIND},
                                             {.name = "rbind", .set = MS_BIND | MS_REC},
                                             {.name = "nosuid", .set = MS_NOSUID},
                                             {.name = "nodev", .set = MS_NODEV},
                                             {.name = "noexec", .set = MS_NOEXEC},
                                             {.name = "noatime", .set = MS_NOATIME},
                                             {.name = "nodiratime", .set = MS_NODIRATIME},
                                             {.name = "relatime", .set = MS_RELATIME},
                                             {.name = "sync", .set = MS_SYNCHRONOUS}});
constexpr unsigned long kRecursive = MS_REC;
constexpr unsigned long kBind = MS_BIND | MS_REC;
constexpr std::string_view kLower = "lowerdir=";
constexpr std::size_t kDataMax = 4095;  // mount(2): one page

struct Arguments {
    unsigned long flags = 0;
    std::string data;
};

Result<Arguments> arguments_of(const RootMount& mount) {
    Arguments out;
    for (const std::string& option : mount.options) {
        // Work of the client's mount program, which it expects to be done.
        if (option == "loop" || option.starts_with("X-containerd.") || option.contains('\0')) {
            return Error(Code::Unsupported, "rootfs: mount option '" + option + "'");
        }
        const auto* const flag = std::ranges::find(kFlags, option, &Flag::name);
        if (flag != kFlags.end()) {
            out.flags |= flag->set;
        } else {
            out.data += (out.data.empty() ? "" : ",") + option;
        }
    }
    return out;
}

/// The longest directory that all of a lowerdir= list is in; "" where there is none but the root.
std::string common_directory(std::string_view list) {
    std::string_view common = list.substr(0, list.find(':'));
    while (!list.empty()) {
        const std::string_view one = list.substr(0, list.find(':'));
        list.remove_prefix(std::min(one.size() + 1, list.size()));
        const auto [end, other] = std::ranges::mismatch(common, one);
        common = common.substr(0, static_cast<std::size_t>(end - common.begin()));
    }
    return std::string(common.substr(0, common.rfind('/') + 1));
}

/// Many layers' paths fill the page: they are shortened to what is left from the directory that
/// they share, which becomes the working directory.
std::string shorten_layers(std::string& data) {
    const std::size_t at = data.find(kLower);
    if (data.size() <= kDataMax || at == std::string::npos) {
        return "/";
    }
    const std::size_t begin = at + kLower.size();
    const std::size_t end = std::min(data.find(',', begin), data.size());
    std::string common = common_directory(std::string_view(data).substr(begin, end - begin));
    if (common.size() < 2) {
        return "/";
    }
    std::string list = data.substr(begin, end - begin);
    for (std::size_t place = 0; place != std::string::npos;) {
        list.erase(place, common.size());
        const std::size_t colon = list.find(':', place);
        place = colon == std::string::npos ? colon : colon + 1;
    }
    data.replace(begin, end - begin, list);
    return common;
}

Result<void> mount_one(const RootMount& mount, const std::string& target) {
    Arguments arguments = TRY(arguments_of(mount));
    const std::string directory = shorten_layers(arguments.data);
    const auto fail = [&] {
        return Error::from_errno(errno, "rootfs: mount '" + mount.source + "' of type '" +
                                            mount.type + "' on '" + target + "'");
    };
    if (::chdir(directory.c_str()) != 0) {
        return fail();
    }
    const bool is_bind = (arguments.flags & MS_BIND) != 0;
    const int done = ::mount(mount.source.c_str(), target.c_str(), mount.type.c_str(),
                             arguments.flags, arguments.data.c_str());
    Result<void> out;
    if (done != 0) {
        out = fail();
    } else if (is_bind && (arguments.flags & ~kBind) != 0 &&
               // A bind takes its other flags only afterwards.
               ::mount(nullptr, target.c_str(), nullptr,
                       (arguments.flags & ~kRecursive) | MS_REMOUNT, nullptr) != 0) {
        out = fail();
        (void)::umount2(target.c_str(), MNT_DETACH);
    }
    (void)!::chdir("/");
    return out;
}

}  // namespace

Result<std::unique_ptr<RootMounts>> RootMounts::mount(std::span<const RootMount> mounts,
                                                      const std::string& target) {
    std::unique_ptr<RootMounts> made(new RootMounts(target));
    for (const RootMount& each : mounts) {
        TRY(mount_one(each, target));
        ++made->count_;
    }
    return made;
}

// Detached, because the microVM may be about to let go of it.
RootMounts::~RootMounts() {
    for (; count_ != 0; --count_) {
        (void)::umount2(target_.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW);
    }
}

}  // namespace pepita::shim
