#include "runtime/api/fd_names.h"

#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"

namespace pepita::runtime::api {
namespace {

constexpr std::string_view kPrefix = "fd:";

}  // namespace

std::string FdTable::name(const Fd& fd) {
    if (!fd) {
        return "";
    }
    refs_.push_back(fd.ref());
    return std::string(kPrefix) + std::to_string(refs_.size() - 1);
}

Result<StreamEnd> take_end(const std::string& name, std::vector<Fd>& fds) {
    StreamEnd end;
    if (!name.starts_with(kPrefix)) {
        end.path = name;
        return end;
    }
    const std::string_view digits = std::string_view(name).substr(kPrefix.size());
    std::size_t index = 0;
    const auto [last, error] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
    if (error != std::errc() || last != digits.data() + digits.size() || index >= fds.size() ||
        !fds[index]) {
        return Error(Code::InvalidArgument, "'" + name + "' did not come with the request");
    }
    end.fd = std::move(fds[index]);
    return end;
}

Result<std::optional<Fd>> take_fd(const std::string& name, std::vector<Fd>& fds) {
    StreamEnd end = TRY(take_end(name, fds));
    if (!end.path.empty()) {
        return Error(Code::InvalidArgument, "'" + name + "' must be a descriptor");
    }
    return std::move(end.fd);
}

}  // namespace pepita::runtime::api
