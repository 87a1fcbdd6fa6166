#include "kernel-abi/sys/error.h"

#include <string.h>  // strerrordesc_np, strerrorname_np

#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace pepita {
namespace {

Code code_of(int sys_errno) {
    switch (sys_errno) {
        case ENOENT:
        case ESRCH:
        case ENODEV:
        case ENXIO:
            return Code::NotFound;
        case EEXIST:
        case EADDRINUSE:
            return Code::AlreadyExists;
        case EPERM:
        case EACCES:
        case EROFS:
            return Code::PermissionDenied;
        case EINVAL:
        case ENAMETOOLONG:
            return Code::InvalidArgument;
        case ENOMEM:
        case EMFILE:
        case ENFILE:
        case ENOSPC:
            return Code::ResourceExhausted;
        case EAGAIN:
        case EBUSY:
        case ECONNREFUSED:
        case ECONNRESET:
        case EPIPE:
            return Code::Unavailable;
        case ETIMEDOUT:
            return Code::DeadlineExceeded;
        case ENOSYS:
        case EOPNOTSUPP:
        case ENOTTY:
            return Code::Unsupported;
        default:
            return Code::Internal;
    }
}

}  // namespace

std::string_view to_string(Code code) {
    switch (code) {
        case Code::Cancelled:
            return "cancelled";
        case Code::InvalidArgument:
            return "invalid argument";
        case Code::DeadlineExceeded:
            return "deadline exceeded";
        case Code::NotFound:
            return "not found";
        case Code::AlreadyExists:
            return "already exists";
        case Code::PermissionDenied:
            return "permission denied";
        case Code::ResourceExhausted:
            return "resource exhausted";
        case Code::FailedPrecondition:
            return "failed precondition";
        case Code::Aborted:
            return "aborted";
        case Code::OutOfRange:
            return "out of range";
        case Code::Unsupported:
            return "unsupported";
        case Code::Internal:
            return "internal";
        case Code::Unavailable:
            return "unavailable";
        case Code::DataLoss:
            return "data loss";
    }
    __builtin_unreachable();
}

Error::Error(Code code, std::string message)
    : Error(std::make_unique<Body>(
          Body{.code = code, .sys_errno = 0, .message = std::move(message)})) {}

Error::~Error() = default;

Error Error::from_errno(int sys_errno, std::string_view operation) {
    std::string message(operation);
    message.append(": ").append(strerrordesc_np(sys_errno));
    message.append(" (").append(strerrorname_np(sys_errno)).append(")");
    return Error(std::make_unique<Body>(
        Body{.code = code_of(sys_errno), .sys_errno = sys_errno, .message = std::move(message)}));
}

Error Error::within(std::string_view doing) && {
    body_->message.insert(0, std::string(doing) + ": ");
    return std::move(*this);
}

}  // namespace pepita
