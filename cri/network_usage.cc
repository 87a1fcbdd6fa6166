#include "cri/network_usage.h"

#include <fcntl.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/network.h"

namespace pepita::cri {
namespace {

// Columns of /proc/net/dev: 8 of what was received, 8 of what was sent. Linux net/core/net-procfs.c
constexpr std::size_t kColumns = 16;

bool read_columns(std::string_view text, std::array<std::uint64_t, kColumns>& columns) {
    for (std::uint64_t& column : columns) {
        const std::size_t begin = text.find_first_not_of(' ');
        if (begin == std::string_view::npos) {
            return false;
        }
        const auto [end, error] =
            std::from_chars(text.data() + begin, text.data() + text.size(), column);
        if (error != std::errc()) {
            return false;
        }
        text.remove_prefix(static_cast<std::size_t>(end - text.data()));
    }
    return true;
}

}  // namespace

std::vector<InterfaceUsage> parse_network_usage(std::string_view text) {
    std::vector<InterfaceUsage> found;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const std::size_t colon = line.rfind(':');
        const std::size_t begin = line.find_first_not_of(' ');
        if (colon == std::string_view::npos || begin >= colon) {
            continue;
        }
        const std::string_view name = line.substr(begin, colon - begin);
        std::array<std::uint64_t, kColumns> columns{};
        if (name == "lo" || name.starts_with(runtime::kTapNamePrefix) ||
            !read_columns(line.substr(colon + 1), columns)) {
            continue;
        }
        found.push_back({.name = std::string(name),
                         .received_bytes = columns[0],
                         .received_packets = columns[1],
                         .receive_errors = columns[2],
                         .receive_drops = columns[3],
                         .sent_bytes = columns[8],
                         .sent_packets = columns[9],
                         .send_errors = columns[10],
                         .send_drops = columns[11]});
    }
    return found;
}

Result<std::vector<InterfaceUsage>> read_network_usage(const std::string& path) {
    const Fd own = TRY(open_file("/proc/thread-self/ns/net", O_RDONLY));
    const Fd network = TRY(open_file(path.c_str(), O_RDONLY));
    if (::setns(network.ref().number(), CLONE_NEWNET) != 0) {
        return Error::from_errno(errno, "enter '" + path + "'");
    }
    const Result<std::string> text = read_file("/proc/thread-self/net/dev");
    // In another's namespace this thread would serve nobody.
    CHECK(::setns(own.ref().number(), CLONE_NEWNET) == 0);
    if (!text) {
        return Error(text.error().code(), text.error().message());
    }
    return parse_network_usage(*text);
}

}  // namespace pepita::cri
