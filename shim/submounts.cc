#include "shim/submounts.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>

namespace pepita::shim {
namespace {

std::string_view take(std::string_view& rest, char separator) {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

// A space, a tab, a newline and a backslash of a path are written as "\040".
std::string unescaped(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        constexpr std::size_t escape = 4;
        if (text.front() == '\\' && text.size() >= escape) {
            unsigned code = 0;
            for (const char digit : text.substr(1, escape - 1)) {
                code = code * 8 + static_cast<unsigned>(digit - '0');
            }
            out.push_back(static_cast<char>(code));
            text.remove_prefix(escape);
        } else {
            out.push_back(text.front());
            text.remove_prefix(1);
        }
    }
    return out;
}

}  // namespace

bool has_submounts(std::string_view mountinfo, std::string_view path) {
    const std::string below = path.ends_with('/') ? std::string(path) : std::string(path) + "/";
    while (!mountinfo.empty()) {
        std::string_view line = take(mountinfo, '\n');
        for (int before = 0; before < 4; ++before) {
            take(line, ' ');
        }
        const std::string point = unescaped(take(line, ' '));
        if (point.size() > below.size() && point.starts_with(below)) {
            return true;
        }
    }
    return false;
}

}  // namespace pepita::shim
