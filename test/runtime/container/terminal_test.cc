#include "runtime/container/terminal.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"
#include "runtime/container/engine.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using test::reap_status;

class ContainerTerminal : public ContainerTest {
protected:
    static ContainerSpec terminal_spec(const std::string& script) {
        ContainerSpec spec = spec_of(script);
        spec.process.terminal = Terminal::Yes;
        spec.process.window = {.rows = 33, .columns = 111};
        return spec;
    }

    // What a process says on its terminal until it hangs up (EIO), as it comes.
    static std::string talk(test::WaitedProcess& process) {
        std::optional<Fd> master = process.take_terminal();
        EXPECT_TRUE(master.has_value());
        EXPECT_EQ(process.start().value_or(99), 0U);
        std::string text;
        std::array<char, 512> buffer{};
        ssize_t got = 0;
        while (master && (got = ::read(master->ref().number(), buffer.data(), buffer.size())) > 0) {
            text.append(buffer.data(), static_cast<std::size_t>(got));
        }
        return text;
    }

    // One line, however many reads it takes.
    static std::string read_line(FdRef master) {
        std::string line;
        char byte = 0;
        while (!line.ends_with('\n') && ::read(master.number(), &byte, 1) == 1) {
            line += byte;
        }
        return line;
    }

    std::string output_of_terminal(const ContainerSpec& spec) const {
        auto container = create(spec);
        if (!container) {
            return container.error().message();
        }
        std::string said = talk((*container)->process());
        EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
        return said;
    }
};

TEST_F(ContainerTerminal, StandardStreamsAreAControllingTerminalOfThatSize) {
    EXPECT_EQ(output_of_terminal(terminal_spec(
                  "test -t 0 && test -t 1 && test -t 2 && tty; stty size; echo x > /dev/tty; "
                  "stat -c %t:%T /dev/console; readlink /proc/self/fd/0")),
              "/dev/pts/0\n33 111\nx\n88:0\n/dev/pts/0\n");
}

TEST_F(ContainerTerminal, R21_NewlinesLeaveAsTheyWereWritten) {
    EXPECT_EQ(output_of_terminal(terminal_spec("echo hi; stty -a | grep -o -- '-onlcr'")),
              "hi\n-onlcr\n");
}

TEST_F(ContainerTerminal, SizeFollowsTheMaster) {
    auto container =
        create(terminal_spec("trap 'stty size; exit' WINCH; echo up; "
                             "while :; do sleep 0.05; done"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    std::optional<Fd> master = (*container)->process().take_terminal();
    ASSERT_TRUE(master.has_value());
    EXPECT_FALSE((*container)->process().take_terminal().has_value());
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    ASSERT_EQ(read_line(master->ref()), "up\n");
    winsize size{};
    size.ws_row = 5;
    size.ws_col = 7;
    ASSERT_EQ(::ioctl(master->ref().number(), TIOCSWINSZ, &size), 0);
    EXPECT_EQ(read_line(master->ref()), "5 7\n");
    EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
}

TEST_F(ContainerTerminal, AUserOwnsItsTerminal) {
    ContainerSpec spec = terminal_spec("stat -c '%u %a' $(tty); echo x > /dev/console");
    spec.process.uid = 1000;
    EXPECT_EQ(output_of_terminal(spec), "1000 620\nx\n");
}

TEST_F(ContainerTerminal, ASizeThatNoTerminalHasIsTheLargest) {
    ContainerSpec spec = terminal_spec("true");
    spec.process.window = {.rows = 65'536, .columns = 65'535};
    auto container = create(spec);
    ASSERT_TRUE(container.has_value()) << container.error().message();
    const std::optional<Fd> master = (*container)->process().take_terminal();
    winsize size{};
    ASSERT_EQ(::ioctl(master->ref().number(), TIOCGWINSZ, &size), 0);
    EXPECT_EQ(size.ws_row, 65'535);
    EXPECT_EQ(size.ws_col, 65'535);
    (*container)->process().abandon();
    EXPECT_EQ(reap_status((*container)->process().pid()), 0U);
}

TEST_F(ContainerTerminal, ExecGetsOneOfItsOwn) {
    auto container = create(terminal_spec("echo up; exec sleep 1000"));
    ASSERT_TRUE(container.has_value()) << container.error().message();
    const std::optional<Fd> master = (*container)->process().take_terminal();
    ASSERT_EQ((*container)->process().start().value_or(99), 0U);
    ProcessSpec spec = process_of("tty; stty size; echo x > /dev/tty");
    spec.terminal = Terminal::Yes;
    spec.window = {.rows = 3, .columns = 4};
    auto process = (*container)->exec(spec, {});
    ASSERT_TRUE(process.has_value()) << process.error().message();
    EXPECT_EQ(talk(*process), "/dev/pts/1\n3 4\nx\n");
    EXPECT_EQ(reap_status(process->pid()), 0U);
    EXPECT_TRUE((*container)->remove().has_value());
    EXPECT_EQ(reap_status((*container)->process().pid()), 128U + SIGKILL);
}

TEST_F(ContainerTerminal, WithoutADevptsItIsRefused) {
    ContainerSpec spec = terminal_spec("true");
    drop_mounts(spec, "/dev/pts");
    EXPECT_EQ(refusal_of(spec),
              "terminal: open '/dev/pts/ptmx': No such file or directory (ENOENT)");
    spec.mounts.push_back(mount_of("tmpfs", "/dev/pts", {}));
    spec.devices = {{.path = "/dev/pts/ptmx", .major = 1, .minor = 3}};
    EXPECT_EQ(refusal_of(spec), "terminal: '/dev/pts' is not a devpts");
}

TEST_F(ContainerTerminal, AConsoleThatLeadsElsewhereIsRefused) {
    use_image({{.kind = test::ImageEntry::Kind::Link,
                .path = "dev/console",
                .content = "/proc/sys/kernel/domainname"}});
    ContainerSpec spec = terminal_spec("true");
    std::erase_if(spec.mounts, [](const MountSpec& mount) { return mount.destination == "/dev"; });
    EXPECT_EQ(refusal_of(spec), "'/dev/console' of the image is no file");
}

}  // namespace
}  // namespace pepita::runtime::container
