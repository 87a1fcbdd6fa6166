#include "runtime/container/home.h"

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

#include "runtime/container.h"
#include "runtime/container/users.h"

namespace pepita::runtime::container {
namespace {

constexpr std::string_view kDefaultHome = "/";
constexpr std::size_t kUid = 2;  // fields of an entry
constexpr std::size_t kHome = 5;
constexpr std::size_t kFields = 7;

std::optional<std::string_view> home_in(std::string_view entry, std::uint32_t uid) {
    if (std::ranges::count(entry, ':') != kFields - 1) {
        return std::nullopt;
    }
    std::array<std::string_view, kFields> fields;
    for (std::string_view& field : fields) {
        field = take_field(entry, ':');
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

// None where it is no plain file, or too large.
std::string read_passwd() { return read_database("/etc/passwd").value_or(""); }

}  // namespace

std::string home_of(std::string_view passwd, std::uint32_t uid) {
    while (!passwd.empty()) {
        if (const auto home = home_in(take_field(passwd, '\n'), uid)) {
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
