#include "runtime/container/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita::runtime::container {

Result<std::string> read_all(FdRef fd, const std::string& path) {
    std::string text;
    std::array<char, 4096> buffer{};
    while (true) {
        const ssize_t got = ::read(fd.number(), buffer.data(), buffer.size());
        if (got < 0) {
            return Error::from_errno(errno, "read '" + path + "'");
        }
        if (got == 0) {
            return text;
        }
        text.append(buffer.data(), static_cast<std::size_t>(got));
    }
}

Result<std::string> read_file(const std::string& path) {
    const Fd fd = TRY(open_file(path.c_str(), O_RDONLY));
    return read_all(fd.ref(), path);
}

Result<void> write_file(const std::string& path, std::string_view text) {
    const Fd fd = TRY(open_file(path.c_str(), O_WRONLY));
    if (::write(fd.ref().number(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
        return Error::from_errno(errno, "write '" + path + "'");
    }
    return {};
}

Result<void> make_directory(const std::string& path) {
    if (::mkdir(path.c_str(), 0755) != 0 && errno != EEXIST) {
        return Error::from_errno(errno, "make directory '" + path + "'");
    }
    return {};
}

}  // namespace pepita::runtime::container
