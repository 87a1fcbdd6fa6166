#include "runtime/container/home.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/inside.h"

namespace pepita::runtime::container {
namespace {

constexpr std::size_t kPasswdMax = std::size_t{1} << 20U;
constexpr std::string_view kDefaultHome = "/";
constexpr std::size_t kUid = 2;  // fields of an entry
constexpr std::size_t kHome = 5;
constexpr std::size_t kFields = 7;

// Takes what comes before the first `separator` off `rest`, and the separator.
std::string_view take(std::string_view& rest, char separator) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

std::optional<std::string_view> home_in(std::string_view entry, std::uint32_t uid) {
    if (std::ranges::count(entry, ':') != kFields - 1) {
        return std::nullopt;
    }
    std::array<std::string_view, kFields> fields;
    for (std::string_view& field : fields) {
        field = take(entry, ':');
    }
    std::uint32_t number = 0;
    const std::string_view text = fields[kUid];
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc() || end != text.data() + text.size() || number != uid ||
        !fields[kHome].starts_with('/')) {
        return std::nullopt;
    }
    return fields[kHome];
}

// None where it is no plain file, or too large. A running container may have put anything there, so
// nothing that waits.
std::string read_passwd() {
    const Result<Fd> fd = open_inside("/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY);
    struct stat about{};
    if (!fd || ::fstat(fd->ref().number(), &about) != 0 || !S_ISREG(about.st_mode)) {
        return {};
    }
    return read_all(fd->ref(), kPasswdMax, "/etc/passwd").value_or("");
}

}  // namespace

std::string home_of(std::string_view passwd, std::uint32_t uid) {
    while (!passwd.empty()) {
        if (const auto home = home_in(take(passwd, '\n'), uid)) {
            return std::string(*home);
        }
    }
    return std::string(kDefaultHome);
}

std::vector<std::string> environment_of(const ProcessSpec& spec) {
    constexpr std::string_view name = "HOME=";
    std::vector<std::string> environment = spec.env;
    const auto home = std::ranges::find_if(
        environment, [&](const std::string& entry) { return entry.starts_with(name); });
    if (home == environment.end()) {
        environment.push_back(std::string(name) + home_of(read_passwd(), spec.uid));
    } else if (*home == name) {
        home->append(home_of(read_passwd(), spec.uid));  // as runc: empty is unset
    }
    return environment;
}

}  // namespace pepita::runtime::container
