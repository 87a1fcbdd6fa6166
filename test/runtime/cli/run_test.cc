// pepita-run as a whole, against a shim that runs processes on the host (fake_shim.cc).

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/prctl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/poll.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/bundle.h"
#include "runtime/container.h"
#include "runtime/state.h"

namespace pepita::runtime {
namespace {

constexpr int kPatienceMs = 20'000;

// Of a container that outlives pepita-run: it lets go of the streams, whose end we wait for.
constexpr const char* kSleep = "exec >/dev/null 2>&1; exec sleep 100";

struct Pipe {
    Fd read;
    Fd write;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    return {.read = Fd(ends[0]), .write = Fd(ends[1])};
}

/// What comes until the end of the stream, or until it has `until`.
std::string read_text(const Fd& from, std::string_view until = "\1") {
    std::string text;
    std::array<char, 4096> part{};
    while (!text.contains(until)) {
        pollfd ready{.fd = from.ref().number(), .events = POLLIN, .revents = 0};
        if (::poll(&ready, 1, kPatienceMs) != 1) {
            ADD_FAILURE() << "nothing came after: " << text;
            break;
        }
        const ssize_t count = ::read(from.ref().number(), part.data(), part.size());
        if (count <= 0) {
            break;
        }
        text.append(part.data(), static_cast<std::size_t>(count));
    }
    return text;
}

void write_text(const Fd& to, std::string_view text) {
    EXPECT_EQ(::write(to.ref().number(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
}

/// A running pepita-run, with our ends of its streams.
struct Running {
    Child child;
    Fd in;
    Fd out;
    Fd err;
};

struct Outcome {
    std::uint32_t status = 0;
    std::string out;
    std::string err;
};

class PepitaRun : public testing::Test {
public:
    PepitaRun() {
        std::string name = testing::TempDir() + "pepita-run-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        path_ = name;
        std::filesystem::create_directories(path_ / "bundle/rootfs");
        // Shims and proxies outlive pepita-run: they become ours to reap, and to miss.
        EXPECT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
    }
    ~PepitaRun() override {
        EXPECT_EQ(::prctl(PR_SET_CHILD_SUBREAPER, 0), 0);
        std::filesystem::remove_all(path_);
        constexpr int rounds = kPatienceMs / 5;
        int round = 0;
        pid_t reaped = ::waitpid(-1, nullptr, WNOHANG);
        while (reaped >= 0 && round < rounds) {
            round += reaped == 0 ? 1 : 0;
            (void)::poll(nullptr, 0, reaped == 0 ? 5 : 0);
            reaped = ::waitpid(-1, nullptr, WNOHANG);
        }
        EXPECT_EQ(reaped, -1) << "a process was left";
    }
    PepitaRun(const PepitaRun&) = delete;
    PepitaRun& operator=(const PepitaRun&) = delete;
    PepitaRun(PepitaRun&&) = delete;
    PepitaRun& operator=(PepitaRun&&) = delete;

    /// The bundle's process is a shell with this script.
    void bundle(const std::string& script, Terminal terminal = Terminal::No) const {
        ProcessSpec process;
        process.args = {"/bin/sh", "-c", script};
        process.env = {"PATH=/usr/bin:/bin", "KEY=bundle"};
        process.cwd = "/";
        process.terminal = terminal;
        bundle(process);
    }
    void bundle(const ProcessSpec& process) const {
        std::ofstream(path_ / "bundle/config.json")
            << R"({"ociVersion": "1.0.2", "root": {"path": "rootfs"}, "annotations": {"a": "b"},
                   "linux": {"namespaces": [{"type": "mount"}]}, "process": )"
            << to_json(process) << "}";
    }

    SpawnOptions command(const std::vector<std::string>& arguments) const {
        SpawnOptions options;
        options.path = PEPITA_RUN;
        options.arguments = {"pepita-run",          "--root",      root(), "--shim",
                             PEPITA_FAKE_SHIM_PATH, "--isolation", "tcg"};
        options.arguments.insert(options.arguments.end(), arguments.begin(), arguments.end());
        options.environment = {"PATH=/usr/bin:/bin", "PEPITA_FAKE_SHIM=" + misbehaviour_};
        return options;
    }

    Running begin(const std::vector<std::string>& arguments) const {
        Pipe in = make_pipe();
        Pipe out = make_pipe();
        Pipe err = make_pipe();
        SpawnOptions options = command(arguments);
        options.fds = {{.fd = in.read.ref(), .number = 0},
                       {.fd = out.write.ref(), .number = 1},
                       {.fd = err.write.ref(), .number = 2}};
        options.prepare = [path = path_ / "bundle"] -> Result<void> {
            return ::chdir(path.c_str()) == 0 ? Result<void>() : Error::from_errno(errno, "chdir");
        };
        auto child = spawn(std::move(options));
        EXPECT_TRUE(child.has_value());
        return {.child = *std::move(child),
                .in = std::move(in.write),
                .out = std::move(out.read),
                .err = std::move(err.read)};
    }

    static Outcome end(Running& running) {
        { const Fd closed = std::move(running.in); }
        Outcome outcome;
        outcome.out = read_text(running.out);
        outcome.err = read_text(running.err);
        outcome.status = running.child.reap().shell_status();
        return outcome;
    }

    Outcome perform(const std::vector<std::string>& arguments, std::string_view input = "") const {
        Running running = begin(arguments);
        write_text(running.in, input);
        return end(running);
    }

    /// Without streams of ours: those of a created container stay open with it.
    std::uint32_t status_of(const std::vector<std::string>& arguments) const {
        SpawnOptions options = command(arguments);
        options.arguments.insert(options.arguments.end(),
                                 {"--bundle", (path_ / "bundle").string()});
        auto child = spawn(std::move(options));
        EXPECT_TRUE(child.has_value());
        return child->reap().shell_status();
    }

    std::string root() const { return (path_ / "root").string(); }
    std::string pid_file() const { return (path_ / "pid").string(); }
    pid_t pid_in_file() const {
        pid_t pid = 0;
        std::ifstream(pid_file()) >> pid;
        return pid;
    }
    std::ptrdiff_t containers_left() const {
        return std::filesystem::exists(root())
                   ? std::distance(std::filesystem::directory_iterator(root()), {})
                   : 0;
    }

protected:
    std::filesystem::path path_;
    std::string misbehaviour_;
};

TEST_F(PepitaRun, RunPassesStreamsAndExitStatusThrough) {
    bundle("cat; echo bad >&2; exit 3");
    const Outcome outcome = perform({"run", "web"}, "some input\n");
    EXPECT_EQ(outcome.status, 3U);
    EXPECT_EQ(outcome.out, "some input\n");
    EXPECT_EQ(outcome.err, "bad\n");
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, RunCountsSignalsAsTheShellCounts) {
    bundle("kill -KILL $$");
    EXPECT_EQ(perform({"run", "web"}).status, 137U);
}

TEST_F(PepitaRun, RunForwardsSignals) {
    bundle("trap 'exit 9' TERM; echo ready; while :; do sleep 0.02; done");
    Running running = begin({"run", "web"});
    EXPECT_EQ(read_text(running.out, "\n"), "ready\n");
    running.child.send_signal(SIGTERM);
    EXPECT_EQ(end(running).status, 9U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, RunOfMissingProgramIs127AndOfPlainFile126) {
    ProcessSpec process;
    process.args = {"/nope"};
    process.cwd = "/";
    bundle(process);
    Outcome outcome = perform({"run", "web"});
    EXPECT_EQ(outcome.status, 127U);
    EXPECT_EQ(outcome.err,
              "pepita-run: run 'web': exec '/nope': No such file or directory (ENOENT)\n");
    process.args = {"/etc/passwd"};
    bundle(process);
    outcome = perform({"run", "web"});
    EXPECT_EQ(outcome.status, 126U);
    EXPECT_EQ(outcome.err,
              "pepita-run: run 'web': exec '/etc/passwd': Permission denied (EACCES)\n");
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, RunWithoutBundleIs125) {
    const Outcome outcome = perform({"run", "-b", "/nonexistent/b", "web"});
    EXPECT_EQ(outcome.status, 125U);
    EXPECT_EQ(outcome.err,
              "pepita-run: run 'web': bundle '/nonexistent/b': No such file or directory "
              "(ENOENT)\n");
}

TEST_F(PepitaRun, RunWithoutShimProgramNamesIt) {
    bundle("true");
    const Outcome outcome = perform({"--shim", "/no/shim", "run", "web"});
    EXPECT_EQ(outcome.status, 125U);
    EXPECT_TRUE(outcome.err.contains("/no/shim")) << outcome.err;
}

TEST_F(PepitaRun, ShimThatDiesInCreateIs125AndLeavesNothing) {
    bundle("true");
    misbehaviour_ = "dies-in-create";
    const Outcome outcome = perform({"run", "web"});
    EXPECT_EQ(outcome.status, 125U);
    EXPECT_EQ(outcome.err, "pepita-run: run 'web': the shim ended unexpectedly: exit status 1\n");
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, ShimThatDiesWhileTheProcessRunsIs125AndLeavesNothing) {
    bundle(kSleep);
    misbehaviour_ = "dies-later";
    const Outcome outcome = perform({"run", "--pid-file", pid_file(), "web"});
    EXPECT_EQ(outcome.status, 125U);
    EXPECT_TRUE(outcome.err.starts_with("pepita-run: run 'web': the shim ended")) << outcome.err;
    EXPECT_EQ(containers_left(), 0);
    EXPECT_EQ(::kill(pid_in_file(), 0), -1) << "the proxy has gone, too";
}

TEST_F(PepitaRun, InterruptBeforeTheStartTakesTheContainerDown) {
    bundle("true");
    misbehaviour_ = "hangs";
    Running running = begin({"run", "--pid-file", pid_file(), "web"});
    while (!std::filesystem::exists(pid_file())) {
        (void)::poll(nullptr, 0, 5);
    }
    // The first is kept for the process, the second means us.
    running.child.send_signal(SIGTERM);
    running.child.send_signal(SIGINT);
    const Outcome outcome = end(running);
    EXPECT_EQ(outcome.status, 125U);
    EXPECT_TRUE(outcome.err.starts_with("pepita-run: run 'web': interrupted by SIG"))
        << outcome.err;
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, TakenNameIsRefusedAndTheContainerStays) {
    bundle(kSleep);
    ASSERT_EQ(perform({"run", "-d", "web"}).status, 0U);
    const Outcome outcome = perform({"create", "web"});
    EXPECT_EQ(outcome.status, 1U);
    EXPECT_EQ(outcome.err, "pepita-run: create 'web': container 'web' already exists\n");
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "running")"));
    EXPECT_EQ(perform({"delete", "--force", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, LifeOfAContainerByVerbs) {
    bundle(kSleep);
    EXPECT_EQ(status_of({"create", "web"}), 0U);
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "created")"));
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("a": "b")"));
    EXPECT_EQ(perform({"list", "-q"}).out, "web\n");
    EXPECT_EQ(perform({"start", "web"}).status, 0U);
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "running")"));
    Outcome outcome = perform({"start", "web"});
    EXPECT_EQ(outcome.status, 1U);
    EXPECT_EQ(outcome.err, "pepita-run: start 'web': was started before\n");
    outcome = perform({"delete", "web"});
    EXPECT_EQ(outcome.status, 1U);
    EXPECT_EQ(outcome.err,
              "pepita-run: delete 'web': container is running; kill it first, or delete it with "
              "--force\n");
    EXPECT_EQ(perform({"kill", "web", "0"}).status, 0U);
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "running")"));
    EXPECT_EQ(perform({"kill", "web", "KILL"}).status, 0U);
    while (!perform({"state", "web"}).out.contains(R"("status": "stopped")")) {}
    outcome = perform({"kill", "web"});
    EXPECT_EQ(outcome.status, 1U);
    EXPECT_EQ(outcome.err, "pepita-run: kill 'web': container not running\n");
    EXPECT_EQ(perform({"kill", "web", "0"}).err,
              "pepita-run: kill 'web': container not running\n");  // R17
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
    EXPECT_EQ(perform({"state", "web"}).err,
              "pepita-run: state 'web': container 'web' does not exist\n");
    EXPECT_EQ(perform({"delete", "web"}).status, 1U);
    EXPECT_EQ(perform({"delete", "-f", "web"}).status, 0U);
}

TEST_F(PepitaRun, R20_DeleteTakesACreatedContainerAsRuncDoes) {
    bundle("true");
    ASSERT_EQ(status_of({"create", "web"}), 0U);
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, StartOfMissingProgramNamesIt) {
    ProcessSpec process;
    process.args = {"/nope"};
    process.cwd = "/";
    bundle(process);
    ASSERT_EQ(status_of({"create", "web"}), 0U);
    const Outcome outcome = perform({"start", "web"});
    EXPECT_EQ(outcome.status, 1U);
    EXPECT_EQ(outcome.err,
              "pepita-run: start 'web': exec '/nope': No such file or directory (ENOENT)\n");
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
}

TEST_F(PepitaRun, ExecRunsBesideTheContainersProcess) {
    bundle(kSleep);
    ASSERT_EQ(perform({"run", "-d", "web"}).status, 0U);
    Outcome outcome = perform({"exec", "-e", "KEY=exec", "--cwd", "/tmp", "web", "/bin/sh", "-c",
                               "cat; echo $KEY $PWD; exit 4"},
                              "in ");
    EXPECT_EQ(outcome.status, 4U);
    EXPECT_EQ(outcome.out, "in exec /tmp\n");
    outcome = perform({"exec", "web", "/nope"});
    EXPECT_EQ(outcome.status, 127U);
    EXPECT_EQ(outcome.err,
              "pepita-run: exec 'web': exec '/nope': No such file or directory (ENOENT)\n");
    std::ofstream(path_ / "process.json")
        << R"({"user": {"uid": 0, "gid": 0}, "args": ["/bin/echo", "file"], "cwd": "/"})";
    EXPECT_EQ(perform({"exec", "-p", (path_ / "process.json").string(), "web"}).out, "file\n");
    EXPECT_EQ(perform({"exec", "-p", "/dev/stdin", "web"},
                      R"({"args": ["/bin/echo", "pipe"], "cwd": "/"})")
                  .out,
              "pipe\n");
    EXPECT_EQ(perform({"exec", "web", "/bin/echo", "\xff"}).err,
              "pepita-run: exec 'web': command and environment must be UTF-8\n");
    EXPECT_EQ(perform({"delete", "-f", "web"}).status, 0U);
    EXPECT_EQ(perform({"exec", "web", "/bin/true"}).err,
              "pepita-run: exec 'web': container 'web' does not exist\n");
}

TEST_F(PepitaRun, PidInTheFileLivesAndEndsAsTheContainerDoes) {
    const std::filesystem::path ready = path_ / "ready";
    bundle("exec >/dev/null 2>&1; trap 'exit 7' TERM; : > " + ready.string() +
           "; while :; do sleep 0.02; done");
    ASSERT_EQ(perform({"run", "-d", "--pid-file", pid_file(), "web"}).status, 0U);
    while (!std::filesystem::exists(ready)) {
        (void)::poll(nullptr, 0, 1);
    }
    const pid_t pid = pid_in_file();
    std::ifstream comm("/proc/" + std::to_string(pid) + "/comm");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(comm), {}), "pepita-proxy\n");
    ASSERT_EQ(::kill(pid, SIGTERM), 0);
    int status = 0;
    ASSERT_EQ(::waitpid(pid, &status, 0), pid) << "a child of the nearest subreaper";
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 7);
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "stopped")"));
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
}

TEST_F(PepitaRun, DetachedRunHoldsNoStreamsThatTheProcessHasClosed) {
    bundle(kSleep);
    const Outcome outcome = perform({"run", "-d", "web"});  // ends only with its streams
    EXPECT_EQ(outcome.status, 0U);
    EXPECT_EQ(perform({"delete", "-f", "web"}).status, 0U);
}

TEST_F(PepitaRun, ContainerSurvivesItsClient) {
    bundle("echo ready; " + std::string(kSleep));
    {
        Running running = begin({"run", "web"});
        EXPECT_EQ(read_text(running.out, "\n"), "ready\n");
        running.child.send_signal(SIGKILL);
        EXPECT_EQ(end(running).status, 137U);
    }
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "running")"));
    EXPECT_EQ(perform({"delete", "-f", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, ContainerWithoutItsShimIsStoppedAndCanBeDeleted) {
    bundle(kSleep);
    ASSERT_EQ(perform({"run", "-d", "web"}).status, 0U);
    const Fd directory = *open_file((root() + "/web").c_str(), O_RDONLY | O_DIRECTORY);
    const HostProcess shim = read_state(directory.ref()).value().shim;
    ASSERT_TRUE(kill_process(shim).value());
    while (is_alive(shim)) {
        (void)::poll(nullptr, 0, 5);
    }
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "stopped")"));
    EXPECT_EQ(perform({"kill", "web"}).err, "pepita-run: kill 'web': container not running\n");
    EXPECT_EQ(perform({"start", "web"}).err, "pepita-run: start 'web': container is stopped\n");
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, ContainerWhoseShimDiesWhenAskedIsStopped) {
    bundle("true");
    misbehaviour_ = "dies-in-state";
    ASSERT_EQ(perform({"run", "-d", "web"}).status, 0U);
    const Outcome outcome = perform({"state", "web"});
    EXPECT_EQ(outcome.status, 0U) << outcome.err;
    EXPECT_TRUE(outcome.out.contains(R"("status": "stopped")")) << outcome.out;
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, ErrorsGoToTheLogAsJson) {
    const std::string log = (path_ / "log").string();
    EXPECT_EQ(perform({"--log", log, "--log-format", "json", "state", "web"}).status, 1U);
    std::ifstream file(log);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_TRUE(text.starts_with(
        R"({"level":"error","msg":"pepita-run: state 'web': container 'web' does not exist","time":")"))
        << text;
}

TEST_F(PepitaRun, R12_IsolationThatAutoTookIsInLogAndStateAndNotInTheContainersOutput) {
    bundle(kSleep);
    const std::string log = (path_ / "log").string();
    EXPECT_EQ(perform({"--isolation", "auto", "--log", log, "run", "-d", "web"}).err, "");
    std::ifstream file(log);
    const std::string text(std::istreambuf_iterator<char>(file), {});
    EXPECT_TRUE(
        text.starts_with("level=info msg=\"pepita-run: run 'web': isolation none (a test)\""))
        << text;
    const std::string state = perform({"state", "web"}).out;
    EXPECT_TRUE(state.contains(R"("isolation": "none",)")) << state;
    EXPECT_TRUE(state.contains(R"("isolationReason": "a test")")) << state;
    EXPECT_EQ(perform({"delete", "-f", "web"}).status, 0U);
}

TEST_F(PepitaRun, R12_IsolationIsSaidToAPersonAtATerminal) {
    bundle("true");
    int master = -1;
    int slave = -1;
    ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, nullptr), 0);
    const Fd ours(master);
    const Fd theirs(slave);
    SpawnOptions options =
        command({"--isolation", "auto", "run", "-b", (path_ / "bundle").string(), "web"});
    options.fds = {{.fd = theirs.ref(), .number = STDERR_FILENO}};
    auto child = spawn(std::move(options));
    ASSERT_TRUE(child.has_value());
    EXPECT_EQ(read_text(ours, "\n"), "pepita-run: run 'web': isolation none (a test)\r\n");
    EXPECT_EQ(child->reap().shell_status(), 0U);
}

TEST_F(PepitaRun, R19_ALogThatCannotBeWrittenIsAnError) {
    bundle("true");
    const std::string reason =
        ": option '--log': open '/no/such/dir/x': No such file or directory "
        "(ENOENT)\n";
    const Outcome list = perform({"--log", "/no/such/dir/x", "list"});
    EXPECT_EQ(list.status, 1U);
    EXPECT_EQ(list.err, "pepita-run: list" + reason);
    const Outcome run = perform({"--log", "/no/such/dir/x", "run", "web"});
    EXPECT_EQ(run.status, 125U);
    EXPECT_EQ(run.err, "pepita-run: run 'web'" + reason);
}

TEST_F(PepitaRun, R22_AnInputThatCannotBeReadIsAtItsEnd) {
    bundle("cat; echo end");
    const Fd write_only = *open_file("/dev/null", O_WRONLY);
    Pipe out = make_pipe();
    SpawnOptions options = command({"run", "-b", (path_ / "bundle").string(), "web"});
    options.fds = {{.fd = write_only.ref(), .number = STDIN_FILENO},
                   {.fd = out.write.ref(), .number = STDOUT_FILENO}};
    auto child = spawn(std::move(options));
    ASSERT_TRUE(child.has_value());
    { const Fd closed = std::move(out.write); }
    EXPECT_EQ(read_text(out.read), "end\n");
    EXPECT_EQ(child->reap().shell_status(), 0U);
}

TEST_F(PepitaRun, R34_PidfdSocketGetsAPidfdOfTheProxy) {
    bundle(kSleep);
    const Fd directory = *open_file(path_.c_str(), O_RDONLY | O_DIRECTORY);
    const Fd listener = *listen_unix_at(directory.ref(), "pidfd");
    ASSERT_EQ(perform({"run", "-d", "--pid-file", pid_file(), "--pidfd-socket",
                       (path_ / "pidfd").string(), "web"})
                  .status,
              0U);
    const Fd client = *accept_client(listener.ref());
    std::array<std::byte, 16> bytes{};
    auto received = receive_some(client.ref(), bytes);
    ASSERT_TRUE(received.has_value()) << received.error().message();
    ASSERT_EQ(received->fds.size(), 1U);
    const std::string about =
        "/proc/self/fdinfo/" + std::to_string(received->fds.front().ref().number());
    EXPECT_TRUE(read_file(about)->contains("Pid:\t" + std::to_string(pid_in_file()) + "\n"));
    EXPECT_EQ(perform({"delete", "-f", "web"}).status, 0U);
}

TEST_F(PepitaRun, R34_KeepLeavesTheStoppedContainer) {
    bundle("exit 3");
    EXPECT_EQ(perform({"run", "--keep", "web"}).status, 3U);
    EXPECT_TRUE(perform({"state", "web"}).out.contains(R"("status": "stopped")"));
    EXPECT_EQ(perform({"delete", "web"}).status, 0U);
    EXPECT_EQ(containers_left(), 0);
}

TEST_F(PepitaRun, R34_VersionAndFeaturesAreWhatCallersParse) {
    const std::string version = perform({"--version"}).out;
    EXPECT_TRUE(version.starts_with("pepita-run version ")) << version;
    EXPECT_TRUE(version.ends_with("\nspec: 1.2.0\n")) << version;
    const std::string features = perform({"features"}).out;
    EXPECT_TRUE(features.starts_with("{\n  \"ociVersionMin\": \"1.0.0\"")) << features;
    EXPECT_TRUE(features.contains("CAP_CHECKPOINT_RESTORE")) << features;
}

TEST_F(PepitaRun, R36_ListIsAnErrorOnlyIfTheRootIsNoDirectory) {
    EXPECT_EQ(perform({"list"}).out, "ID  PID  STATUS  BUNDLE  CREATED\n");
    EXPECT_EQ(perform({"list"}).status, 0U);
    std::ofstream(path_ / "file") << "x";
    const Outcome outcome = perform({"--root", (path_ / "file").string(), "list"});
    EXPECT_EQ(outcome.status, 1U);
    EXPECT_TRUE(outcome.err.ends_with("Not a directory (ENOTDIR)\n")) << outcome.err;
}

TEST_F(PepitaRun, DetachedTerminalNeedsAConsoleSocket) {
    bundle("true", Terminal::Yes);
    EXPECT_EQ(perform({"run", "-d", "web"}).err,
              "pepita-run: run 'web': a detached process with a terminal needs --console-socket\n");
    EXPECT_EQ(perform({"run", "--console-socket", "/x", "web"}).err,
              "pepita-run: run 'web': --console-socket is for a detached process with a "
              "terminal\n");
}

TEST_F(PepitaRun, TerminalIsRawWhileTheProcessHasItAndThenAsBefore) {
    bundle("stty -a | grep -o -e '-icanon'; readlink " + root() + "/web/size; exit 5",
           Terminal::Yes);
    int master = -1;
    int slave = -1;
    const winsize size{.ws_row = 24, .ws_col = 80, .ws_xpixel = 0, .ws_ypixel = 0};
    ASSERT_EQ(::openpty(&master, &slave, nullptr, nullptr, &size), 0);
    const Fd ours(master);
    const Fd theirs(slave);
    termios before{};
    ASSERT_EQ(::tcgetattr(slave, &before), 0);
    SpawnOptions options = command({"run", "-b", (path_ / "bundle").string(), "web"});
    options.fds = {{.fd = theirs.ref(), .number = 0},
                   {.fd = theirs.ref(), .number = 1},
                   {.fd = theirs.ref(), .number = 2}};
    auto child = spawn(std::move(options));
    ASSERT_TRUE(child.has_value());
    EXPECT_TRUE(read_text(ours, "80x24").contains("-icanon")) << "and the size was passed on";
    EXPECT_EQ(child->reap().shell_status(), 5U);
    termios after{};
    ASSERT_EQ(::tcgetattr(slave, &after), 0);
    EXPECT_EQ(after.c_lflag, before.c_lflag);
    EXPECT_EQ(after.c_iflag, before.c_iflag);
    EXPECT_EQ(after.c_oflag, before.c_oflag);
}

TEST_F(PepitaRun, SpecWritesAConfigurationOnce) {
    std::filesystem::remove(path_ / "bundle/config.json");
    EXPECT_EQ(perform({"spec"}).status, 0U);
    std::ifstream file(path_ / "bundle/config.json");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), default_config());
    EXPECT_EQ(perform({"spec"}).err,
              "pepita-run: spec: create 'config.json': File exists (EEXIST)\n");
    EXPECT_EQ(perform({"spec"}).status, 1U);
}

TEST_F(PepitaRun, UsageErrorsAreTwoAndOfRunAndExec125) {
    EXPECT_EQ(perform({"state"}).status, 2U);
    EXPECT_EQ(perform({"frobnicate"}).status, 2U);
    EXPECT_EQ(perform({"run"}).status, 125U);
    EXPECT_EQ(perform({"exec", "web"}).status, 125U);
}

TEST_F(PepitaRun, ListPrintsATable) {
    bundle(kSleep);
    ASSERT_EQ(perform({"run", "-d", "a"}).status, 0U);
    ASSERT_EQ(status_of({"create", "bb"}), 0U);
    std::istringstream lines(perform({"list"}).out);
    std::string header;
    std::string first;
    std::string second;
    std::getline(lines, header);
    std::getline(lines, first);
    std::getline(lines, second);
    EXPECT_TRUE(header.starts_with("ID  PID"));
    EXPECT_TRUE(first.starts_with("a   ")) << first;
    EXPECT_TRUE(first.contains("  running  "));
    EXPECT_TRUE(second.starts_with("bb  ")) << second;
    EXPECT_TRUE(second.contains("  created  "));
    EXPECT_EQ(perform({"delete", "-f", "a"}).status, 0U);
    EXPECT_EQ(perform({"delete", "bb"}).status, 0U);
}

TEST_F(PepitaRun, PsPrintsStandInsAlone) {
    bundle("exec sleep 1000");
    ASSERT_EQ(status_of({"run", "--detach", "--pid-file", pid_file(), "web"}), 0U);
    const std::string pid = std::to_string(pid_in_file());
    EXPECT_EQ(perform({"ps", "-f", "json", "web"}).out, "[" + pid + "]\n");
    const Outcome table = perform({"ps", "web", "-o", "pid=PID,comm"});
    EXPECT_EQ(table.status, 0U) << table.err;
    EXPECT_EQ(std::ranges::count(table.out, '\n'), 2) << table.out;
    EXPECT_NE(table.out.find(pid), std::string::npos) << table.out;
    const Outcome other = perform({"ps", "web", "-o", "comm"});
    EXPECT_EQ(other.status, 1U);
    EXPECT_EQ(other.err, "pepita-run: ps 'web': ps prints no column 'PID' with these options\n");
    EXPECT_EQ(perform({"delete", "--force", "web"}).status, 0U);
}

TEST_F(PepitaRun, UpdateTakesOptionsAFileOrStandardInput) {
    bundle("exec sleep 1000");
    ASSERT_EQ(status_of({"run", "--detach", "web"}), 0U);
    const auto limits = [this] {
        return std::filesystem::is_symlink(path_ / "root/web/limits")
                   ? std::filesystem::read_symlink(path_ / "root/web/limits").string()
                   : "none";
    };
    const auto forget = [this] { std::filesystem::remove(path_ / "root/web/limits"); };
    EXPECT_EQ(perform({"update", "--memory", "1k", "--cpu-quota", "5", "web"}).status, 0U);
    EXPECT_EQ(limits(), "1024 5 0");
    forget();
    EXPECT_EQ(perform({"update", "--resources=-", "web"}, R"({"pids": {"limit": 9}})").status, 0U);
    EXPECT_EQ(limits(), "0 0 9");
    forget();
    std::ofstream(path_ / "limits.json") << R"({"memory": {"limit": 4096}})";
    EXPECT_EQ(perform({"update", "-r", (path_ / "limits.json").string(), "web"}).status, 0U);
    EXPECT_EQ(limits(), "4096 0 0");
    const Outcome wrong = perform({"update", "-r", "-", "web"}, "{");
    EXPECT_EQ(wrong.status, 1U);
    EXPECT_NE(wrong.err.find("resources: "), std::string::npos) << wrong.err;
    EXPECT_EQ(perform({"delete", "--force", "web"}).status, 0U);
}

TEST_F(PepitaRun, EventsPrintWhatWasUsed) {
    bundle("exec sleep 1000");
    ASSERT_EQ(status_of({"run", "--detach", "web"}), 0U);
    const Outcome once = perform({"events", "--stats", "web"});
    EXPECT_EQ(once.status, 0U) << once.err;
    EXPECT_TRUE(once.out.starts_with(
        R"({"type":"stats","id":"web","data":{"cpu":{"usage":{"total":300000,)"))
        << once.out;
    Running again = begin({"events", "--interval", "10ms", "web"});
    EXPECT_NE(read_text(again.out, "\n").find(R"("type":"stats")"), std::string::npos);
    EXPECT_EQ(perform({"delete", "--force", "web"}).status, 0U);
    EXPECT_EQ(end(again).status, 0U);
}

TEST_F(PepitaRun, PauseAndResumeStopAndContinue) {
    bundle("exec sleep 1000");
    ASSERT_EQ(status_of({"run", "--detach", "web"}), 0U);
    EXPECT_EQ(perform({"pause", "web"}).status, 0U);
    EXPECT_EQ(perform({"resume", "web"}).status, 0U);
    const Outcome missing = perform({"pause", "none"});
    EXPECT_EQ(missing.status, 1U);
    EXPECT_EQ(missing.err, "pepita-run: pause 'none': container 'none' does not exist\n");
    EXPECT_EQ(perform({"delete", "--force", "web"}).status, 0U);
}

}  // namespace
}  // namespace pepita::runtime
