#include "runtime/container/terminal.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>  // unlockpt
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"
#include "runtime/container/inside.h"
#include "runtime/container/outcome.h"

namespace pepita::runtime::container {
namespace {

constexpr const char* kMultiplexer = "/dev/pts/ptmx";
constexpr const char* kConsole = "/dev/console";

unsigned short window_side(std::uint32_t cells) {
    return static_cast<unsigned short>(
        std::min<std::uint32_t>(cells, std::numeric_limits<unsigned short>::max()));
}

// A running container may have something else in its place.
Result<Fd> open_multiplexer() {
    Fd master = TRY(open_inside(kMultiplexer, O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK));
    struct statfs about{};
    TRY(outcome(::fstatfs(master.ref().number(), &about), "terminal"));
    if (about.f_type != DEVPTS_SUPER_MAGIC) {
        return Error(Code::FailedPrecondition, "'/dev/pts' is not a devpts");
    }
    TRY(set_blocking(master.ref()));
    return master;
}

/// A newline leaves as it was written, as with runc: the terminal that shows it adds the carriage
/// return, and a pipe or a file gets none.
Result<void> clear_onlcr(FdRef slave) {
    termios settings{};
    TRY(outcome(::tcgetattr(slave.number(), &settings), "read the terminal's settings"));
    settings.c_oflag &= ~static_cast<tcflag_t>(ONLCR);
    return outcome(::tcsetattr(slave.number(), TCSANOW, &settings), "set the terminal");
}

// What the console is bound over; made where it is missing.
Result<Fd> console_place() {
    Result<Fd> found = open_inside(kConsole, O_PATH | O_NOFOLLOW);
    if (found || found.error().sys_errno() != ENOENT) {
        return found;
    }
    const Fd directory = TRY(open_inside("/dev", O_PATH | O_DIRECTORY));
    const Fd made(::openat(directory.ref().number(), "console",
                           O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    TRY(outcome(made ? 0 : -1, std::string("make '") + kConsole + "'"));
    return open_inside(kConsole, O_PATH | O_NOFOLLOW);
}

}  // namespace

Result<Fd> open_terminal(const ProcessSpec& spec) {
    Fd master = TRY(open_multiplexer(), "terminal");
    TRY(outcome(::unlockpt(master.ref().number()), "unlock the terminal"));
    const Fd slave(::ioctl(master.ref().number(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
    TRY(outcome(slave ? 0 : -1, "open the terminal"));
    TRY(clear_onlcr(slave.ref()));
    if (spec.window != WindowSize()) {
        winsize size{};
        size.ws_row = window_side(spec.window.rows);
        size.ws_col = window_side(spec.window.columns);
        TRY(outcome(::ioctl(slave.ref().number(), TIOCSWINSZ, &size), "set the window size"));
    }
    TRY(outcome(::fchown(slave.ref().number(), spec.uid, static_cast<gid_t>(-1)),
                "give the terminal to its user"));
    TRY(outcome(::ioctl(slave.ref().number(), TIOCSCTTY, 0), "take the terminal"));
    for (const int standard : {0, 1, 2}) {
        TRY(outcome(::dup2(slave.ref().number(), standard), "put the terminal in place"));
    }
    return master;
}

Result<void> bind_console() {
    const Fd place = TRY(console_place());
    struct stat about{};
    TRY(outcome(::fstat(place.ref().number(), &about), kConsole));
    if (S_ISLNK(about.st_mode) || S_ISDIR(about.st_mode)) {
        return Error(Code::FailedPrecondition,
                     std::string("'") + kConsole + "' of the image is no file");
    }
    const Fd tree(::open_tree(0, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    TRY(outcome(tree ? 0 : -1, std::string("bind '") + kConsole + "'"));
    return outcome(::move_mount(tree.ref().number(), "", place.ref().number(), "",
                                MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH),
                   std::string("bind '") + kConsole + "'");
}

}  // namespace pepita::runtime::container
