#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "runtime/bundle.h"
#include "runtime/cli/command_line.h"
#include "runtime/cli/verbs.h"

namespace pepita::runtime::cli {

Result<int> spec(const Command& command) {
    const std::string path =
        command.bundle == "." ? "config.json" : command.bundle + "/config.json";
    const std::string text = default_config();
    constexpr mode_t mode = 0666;
    const Fd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!file) {
        return Error::from_errno(errno, "create '" + path + "'");
    }
    if (Result<void> written = write_all(file.ref(), text, path); !written) {
        (void)::unlink(path.c_str());
        return std::move(written).error();
    }
    return 0;
}

}  // namespace pepita::runtime::cli
