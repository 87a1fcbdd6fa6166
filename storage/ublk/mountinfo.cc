#include "storage/ublk/mountinfo.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace pepita::storage::ublk {
namespace {

constexpr std::string_view kPrefix = "/dev/ublkb";
constexpr std::size_t kMountPoint = 4;  // fields before " - ", counted from 0
constexpr std::size_t kSource = 1;      // fields after it
constexpr std::size_t kOctalDigits = 3;

std::string_view field(std::string_view line, std::size_t number) {
    for (; number > 0; --number) {
        const std::size_t space = line.find(' ');
        if (space == std::string_view::npos) {
            return {};
        }
        line.remove_prefix(space + 1);
    }
    return line.substr(0, line.find(' '));
}

/// "\040" is a space; so are tabs, newlines and backslashes written.
std::string unescape(std::string_view text) {
    std::string plain;
    while (!text.empty()) {
        const std::string digits(text.substr(1, kOctalDigits));
        std::uint8_t code = 0;
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), code, 8);
        const bool is_escape = text.front() == '\\' && digits.size() == kOctalDigits &&
                               read.ec == std::errc() && read.ptr == digits.data() + digits.size();
        plain.push_back(is_escape ? static_cast<char>(code) : text.front());
        text.remove_prefix(is_escape ? 1 + kOctalDigits : 1);
    }
    return plain;
}

}  // namespace

std::vector<std::string> mounts_on_ublk(std::string_view mountinfo) {
    std::vector<std::string> points;
    while (!mountinfo.empty()) {
        const std::string_view line = mountinfo.substr(0, mountinfo.find('\n'));
        mountinfo.remove_prefix(std::min(line.size() + 1, mountinfo.size()));
        constexpr std::string_view separator = " - ";
        const std::size_t middle = line.find(separator);
        if (middle == std::string_view::npos) {
            continue;
        }
        if (field(line.substr(middle + separator.size()), kSource).starts_with(kPrefix)) {
            points.push_back(unescape(field(line.substr(0, middle), kMountPoint)));
        }
    }
    return points;
}

}  // namespace pepita::storage::ublk
