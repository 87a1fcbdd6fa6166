#include "runtime/container/users.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/inside.h"

namespace pepita::runtime::container {
namespace {

constexpr std::size_t kDatabaseMax = std::size_t{1} << 20U;
constexpr std::uint32_t kIdMax = 0xffff'fffe;  // -1 means "leave it" to the kernel
constexpr const char* kPasswd = "/etc/passwd";
constexpr const char* kGroup = "/etc/group";

// name:password:uid:gid:... and name:password:gid:members
constexpr std::size_t kName = 0;
constexpr std::size_t kNumber = 2;
constexpr std::size_t kLast = 3;
using Entry = std::array<std::string_view, kLast + 1>;

std::optional<std::uint32_t> number_of(std::string_view text) {
    std::uint32_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number > kIdMax) {
        return std::nullopt;
    }
    return number;
}

bool is_number(std::string_view text) {
    return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// The first entry that `fits`.
template <typename Fits>
std::optional<Entry> find_entry(std::string_view text, Fits fits) {
    while (!text.empty()) {
        std::string_view line = take_field(text, '\n');
        if (std::ranges::count(line, ':') < static_cast<std::ptrdiff_t>(kLast)) {
            continue;
        }
        Entry entry;
        for (std::string_view& field : entry) {
            field = take_field(line, ':');
        }
        if (!entry[kName].empty() && number_of(entry[kNumber]) && fits(entry)) {
            return entry;
        }
    }
    return std::nullopt;
}

Result<std::uint32_t> id_of(std::string_view digits, const char* what) {
    const auto number = number_of(digits);
    if (!number) {
        return Error(Code::InvalidArgument,
                     std::string(what) + " '" + std::string(digits) + "' is beyond 4294967294");
    }
    return *number;
}

Error not_there(const char* what, std::string_view name, const char* file) {
    return {Code::NotFound,
            std::string(what) + " '" + std::string(name) + "' is not in the container's " + file};
}

Result<std::uint32_t> find_group(std::string_view name, std::string_view group) {
    if (is_number(name)) {
        return id_of(name, "group");
    }
    const auto entry = find_entry(group, [&](const Entry& e) { return e[kName] == name; });
    if (!entry) {
        return not_there("group", name, kGroup);
    }
    return id_of((*entry)[kNumber], "group");
}

bool is_member(std::string_view members, std::string_view name) {
    while (!members.empty()) {
        if (take_field(members, ',') == name) {
            return true;
        }
    }
    return false;
}

std::vector<std::uint32_t> groups_of(std::string_view name, std::string_view group) {
    std::set<std::uint32_t> found;
    find_entry(group, [&](const Entry& entry) {
        if (is_member(entry[kLast], name) && found.size() < UserIds::kGroupsMax) {
            found.insert(number_of(entry[kNumber]).value_or(0));
        }
        return false;  // all of them
    });
    return {found.begin(), found.end()};
}

}  // namespace

std::string_view take_field(std::string_view& rest, char separator) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

Result<std::string> read_database(const std::string& path) {
    const Result<Fd> fd = open_inside(path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (!fd && (fd.error().sys_errno() == ENOENT || fd.error().sys_errno() == ENOTDIR)) {
        return std::string();
    }
    if (!fd) {
        return Error::from_errno(fd.error().sys_errno(), "open '" + path + "'");
    }
    struct stat about{};
    if (::fstat(fd->ref().number(), &about) != 0 || !S_ISREG(about.st_mode)) {
        return Error(Code::FailedPrecondition, "'" + path + "' is no plain file");
    }
    return read_all(fd->ref(), kDatabaseMax, path);
}

Result<UserIds> find_user(const UserLookup& lookup, std::string_view passwd,
                          std::string_view group) {
    UserIds ids;
    std::optional<Entry> entry;
    if (is_number(lookup.user)) {
        ids.uid = TRY(id_of(lookup.user, "user"));
        entry =
            find_entry(passwd, [&](const Entry& e) { return number_of(e[kNumber]) == ids.uid; });
    } else {
        entry = find_entry(passwd, [&](const Entry& e) { return e[kName] == lookup.user; });
        if (!entry) {
            return not_there("user", lookup.user, kPasswd);
        }
        ids.uid = TRY(id_of((*entry)[kNumber], "user"));
    }
    if (!lookup.group.empty()) {
        ids.gid = TRY(find_group(lookup.group, group));
    } else if (entry) {
        ids.gid = number_of((*entry)[kLast]).value_or(0);
    }
    if (lookup.adds_groups && entry) {
        ids.groups = groups_of((*entry)[kName], group);
    }
    return ids;
}

Result<void> settle_user(ProcessSpec& spec) {
    if (!spec.user) {
        return {};
    }
    const std::string passwd = TRY(read_database(kPasswd));
    const std::string group = TRY(read_database(kGroup));
    const UserIds ids = TRY(find_user(*spec.user, passwd, group));
    // The user's own group, too: a program with the set-group-ID bit must not be able to leave it.
    std::set<std::uint32_t> groups(spec.additional_gids.begin(), spec.additional_gids.end());
    groups.insert(ids.gid);
    groups.insert(ids.groups.begin(), ids.groups.end());
    if (groups.size() > UserIds::kGroupsMax) {
        return Error(Code::InvalidArgument, "the user is in " + std::to_string(groups.size()) +
                                                " groups, at most 65536 are supported");
    }
    spec.uid = ids.uid;
    spec.gid = ids.gid;
    spec.additional_gids.assign(groups.begin(), groups.end());
    spec.user.reset();
    return {};
}

}  // namespace pepita::runtime::container
