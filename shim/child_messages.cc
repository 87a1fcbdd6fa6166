#include "shim/child_messages.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::shim {
namespace {

constexpr std::size_t kMessagesMax = std::size_t{64} * 1024;

}  // namespace

Result<Fd> message_file(const char* name) {
    Fd file(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!file) {
        return Error::from_errno(errno, "memfd_create");
    }
    if (::ftruncate(file.ref().number(), kMessagesMax) != 0 ||
        ::fcntl(file.ref().number(), F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) != 0) {
        return Error::from_errno(errno, "prepare message file");
    }
    return file;
}

std::string last_line(FdRef messages) {
    std::string text(kMessagesMax, '\0');
    const ssize_t got = ::pread(messages.number(), text.data(), text.size(), 0);
    text.resize(got > 0 ? static_cast<std::size_t>(got) : 0);
    text.resize(std::min(text.find('\0'), text.size()));
    while (text.ends_with('\n')) {
        text.pop_back();
    }
    return text.substr(text.rfind('\n') + 1);
}

}  // namespace pepita::shim
