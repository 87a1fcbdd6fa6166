#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/task_api.h"

namespace pepita::runtime::api {

/// The descriptors that go with one request, by the names that stand for them in the message:
/// "fd:N", and "" for none.
class FdTable {
public:
    std::string name(const Fd& fd);
    std::string name(const std::optional<Fd>& fd) { return fd ? name(*fd) : ""; }
    std::string name(const StreamEnd& end) { return end.fd ? name(*end.fd) : end.path; }
    std::span<const FdRef> refs() const { return refs_; }

private:
    std::vector<FdRef> refs_;  // borrowed until the request is on its way
};

/// The descriptor that `name` stands for, or the path that it is. Errors: InvalidArgument where
/// that did not come with the request.
Result<StreamEnd> take_end(const std::string& name, std::vector<Fd>& fds);

/// The same where a path is no answer.
Result<std::optional<Fd>> take_fd(const std::string& name, std::vector<Fd>& fds);

}  // namespace pepita::runtime::api
