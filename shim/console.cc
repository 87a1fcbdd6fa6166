#include "shim/console.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>  // posix_openpt
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "runtime/container.h"

namespace pepita::shim {

Result<Pty> open_pty(runtime::WindowSize window) {
    Fd master(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
    if (!master) {
        return Error::from_errno(errno, "open a pty");
    }
    if (::grantpt(master.ref().number()) != 0 || ::unlockpt(master.ref().number()) != 0) {
        return Error::from_errno(errno, "unlock a pty");
    }
    Fd slave(
        ::ioctl(master.ref().number(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    if (!slave) {
        return Error::from_errno(errno, "open a pty's slave");
    }
    termios settings{};
    if (::tcgetattr(slave.ref().number(), &settings) != 0) {
        return Error::from_errno(errno, "tcgetattr");
    }
    ::cfmakeraw(&settings);
    if (::tcsetattr(slave.ref().number(), TCSANOW, &settings) != 0) {
        return Error::from_errno(errno, "tcsetattr");
    }
    if (window != runtime::WindowSize()) {
        winsize size{};
        size.ws_row = static_cast<unsigned short>(window.rows);
        size.ws_col = static_cast<unsigned short>(window.columns);
        (void)::ioctl(slave.ref().number(), TIOCSWINSZ, &size);
    }
    return Pty{.master = std::move(master), .slave = std::move(slave)};
}

Result<Fd> nonblocking_twin(Fd fd) {
    struct stat about{};
    const int flags = ::fcntl(fd.ref().number(), F_GETFL);
    if (flags == -1 || ::fstat(fd.ref().number(), &about) != 0) {
        return Error::from_errno(errno, "examine a stream");
    }
    if (!S_ISFIFO(about.st_mode) && !S_ISCHR(about.st_mode)) {
        return fd;
    }
    const std::string self = "/proc/self/fd/" + std::to_string(fd.ref().number());
    Fd twin(::open(self.c_str(), (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
    // A pipe whose other end is gone cannot be opened again; it cannot keep us waiting either.
    return twin ? std::move(twin) : std::move(fd);
}

void report_window_sizes(FdRef terminal, FdRef sizes) {
    sigset_t changed;
    (void)::sigemptyset(&changed);
    (void)::sigaddset(&changed, SIGWINCH);
    (void)::sigprocmask(SIG_BLOCK, &changed, nullptr);
    (void)::prctl(PR_SET_NAME, "pepita-window");
    if (::setsid() == -1 || ::ioctl(terminal.number(), TIOCSCTTY, 0) != 0) {
        ::_exit(1);
    }
    while (true) {
        winsize size{};
        if (::ioctl(terminal.number(), TIOCGWINSZ, &size) != 0) {
            ::_exit(0);
        }
        const runtime::WindowSize window{.rows = size.ws_row, .columns = size.ws_col};
        if (::write(sizes.number(), &window, sizeof(window)) != sizeof(window)) {
            ::_exit(0);
        }
        (void)::sigwaitinfo(&changed, nullptr);
    }
}

}  // namespace pepita::shim
