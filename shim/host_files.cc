#include "shim/host_files.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "runtime/host_programs.h"
#include "shim/child_messages.h"
#include "shim/pod_directory.h"
#include "shim/shared_tree.h"

namespace pepita::shim {
namespace {

constexpr std::chrono::seconds kDeadline(30);
constexpr const char* kSocket = "files.sock";

// Descriptors of a child.
constexpr int kListenerNumber = 3;
constexpr int kReportNumber = 3;
constexpr int kMountsNumber = 4;

constexpr std::uint64_t kServerNamespaces =
    CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;

/// What a child says of its work, in one write(2), which a pipe does not tear.
struct Report {
    std::uint32_t code = 0;
    std::array<char, 1000> words{};
};

Result<std::string> find_server() {
    for (const char* path : runtime::kVirtiofsd) {
        if (::access(path, X_OK) == 0) {
            return std::string(path);
        }
    }
    return Error(Code::NotFound,
                 std::string("virtiofsd is not installed: no '") + runtime::kVirtiofsd[0] + "'");
}

// The server has a descriptor for each file that the guest's kernel remembers.
constexpr rlim_t kDescriptorsMax = 1'000'000;

void raise_descriptor_limit() {
    const rlimit limit{.rlim_cur = kDescriptorsMax, .rlim_max = kDescriptorsMax};
    (void)::setrlimit(RLIMIT_NOFILE, &limit);  // without the right to, the shim's limit stays
}

// A connection that the server accepts when it is there. Nobody else finds the listener.
Result<std::pair<Fd, Fd>> listen_and_connect(const PodDirectory& directory) {
    Fd listener = TRY(listen_unix_at(directory.fd(), kSocket));
    Result<Fd> connected = connect_unix_at(directory.fd(), kSocket);
    (void)::unlinkat(directory.fd().number(), kSocket, 0);
    return std::pair(std::move(listener), TRY(std::move(connected)));
}

// timeout=0, or the guest opens a file that the host has renamed another over. Locks are the
// guest's own: the server cannot wait for one, and a lock that fails in place of waiting breaks
// flock(1), useradd and the like.
std::vector<std::string> server_arguments(int listener) {
    return {"virtiofsd",
            "-f",
            "--fd=" + std::to_string(listener),
            "--rlimit-nofile=0",
            "-o",
            std::string("source=") + shared_tree::kTree,
            "-o",
            "cache=auto,timeout=0,announce_submounts,xattr,sandbox=namespace,log_level=err"};
}

// The server leaves this mount namespace at once, for one that gets what is mounted here. So the
// namespace is ours alone, and is destroyed with us.
Result<void> send_mounts(const Fd& socket) {
    const Fd mounts = TRY(open_file("/proc/self/ns/mnt", O_RDONLY));
    const std::array<std::byte, 1> byte{};
    const std::array fds{mounts.ref()};
    (void)TRY(send_some(socket.ref(), byte, fds));
    return {};
}

Result<Fd> receive_mounts(FdRef socket) {
    std::array<std::byte, 1> byte{};
    Received received = TRY(receive_some(socket, byte));
    if (received.fds.size() != 1) {
        return Error(Code::Internal, "virtiofsd's child sent no mount namespace");
    }
    return std::move(received.fds.front());
}

Result<std::pair<Fd, Fd>> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return Error::from_errno(errno, "pipe");
    }
    return std::pair(Fd(ends[0]), Fd(ends[1]));
}

void send_report(const Result<void>& done) {
    Report report;
    if (!done) {
        report.code = static_cast<std::uint32_t>(done.error().code());
        const std::string& words = done.error().message();
        std::memcpy(report.words.data(), words.data(),
                    std::min(words.size(), report.words.size() - 1));
    }
    (void)!::write(kReportNumber, &report, sizeof(report));
}

Result<void> read_report(FdRef pipe) {
    Report report;
    if (::read(pipe.number(), &report, sizeof(report)) != static_cast<ssize_t>(sizeof(report))) {
        return Error(Code::Internal, "the helper for the host's files died");
    }
    report.words.back() = '\0';
    if (report.code == 0) {
        return {};
    }
    return Error(static_cast<Code>(report.code), report.words.data());
}

}  // namespace

Result<std::unique_ptr<HostFiles>> HostFiles::start(EventLoop& loop, const PodDirectory& directory,
                                                    OnEnd on_end) {
    SpawnOptions options;
    options.path = TRY(find_server());
    options.arguments = server_arguments(kListenerNumber);
    auto [listener, socket] = TRY(listen_and_connect(directory), "virtiofsd");
    Fd messages = TRY(message_file("virtiofsd"));
    auto [ours, theirs] = TRY(socket_pair());
    options.fds = {{.fd = listener.ref(), .number = kListenerNumber},
                   {.fd = theirs.ref(), .number = kMountsNumber},
                   {.fd = messages.ref(), .number = 2}};
    options.namespaces = kServerNamespaces;
    options.prepare = [place = directory.path()]() -> Result<void> {
        raise_descriptor_limit();
        TRY(shared_tree::enter(place));
        return send_mounts(Fd(kMountsNumber));
    };
    Child server = TRY(spawn(std::move(options)), "start virtiofsd");
    Fd mounts = TRY(receive_mounts(ours.ref()));
    std::unique_ptr<HostFiles> files(new HostFiles(loop, std::move(server), std::move(messages),
                                                   std::move(mounts), std::move(socket),
                                                   std::move(on_end)));
    HostFiles* self = files.get();
    files->server_watch_ =
        TRY(loop.watch(self->server_.pidfd(), EPOLLIN, [self](std::uint32_t) { self->on_exit(); }));
    return files;
}

// A child that waits for a file system that does not answer cannot be reaped.
HostFiles::~HostFiles() {
    for (auto& [number, job] : jobs_) {
        job.child.send_signal(SIGKILL);
        job.child.release();
    }
}

void HostFiles::attach(const std::string& container, std::vector<SharedPath> paths,
                       runtime::OnResult<void> done) {
    run(
        [container, paths = std::move(paths)] {
            return shared_tree::attach(FdRef(kMountsNumber), container, paths);
        },
        std::move(done));
}

void HostFiles::detach(const std::string& container, runtime::OnResult<void> done) {
    run([container] { return shared_tree::detach(FdRef(kMountsNumber), container); },
        std::move(done));
}

void HostFiles::run(Work work, runtime::OnResult<void> done) {
    if (Result<void> begun = begin(std::move(work), done); !begun) {
        done(std::move(begun));
    }
}

Result<void> HostFiles::begin(Work work, runtime::OnResult<void>& done) {
    auto [report, report_end] = TRY(make_pipe());
    SpawnOptions options;
    options.arguments = {"the helper for the host's files"};
    options.fds = {{.fd = report_end.ref(), .number = kReportNumber},
                   {.fd = mounts_.ref(), .number = kMountsNumber}};
    options.instead_of_exec = [work = std::move(work)]() mutable { send_report(work()); };
    Child child = TRY(spawn(std::move(options)));
    const std::uint64_t number = next_job_++;
    auto watch = TRY(loop_.watch(child.pidfd(), EPOLLIN,
                                 [this, number](std::uint32_t) { finish(number, false); }));
    jobs_.emplace(
        number, Job{.child = std::move(child),
                    .report = std::move(report),
                    .done = std::move(done),
                    .watch = std::move(watch),
                    .deadline = loop_.after(kDeadline, [this, number] { finish(number, true); })});
    return {};
}

void HostFiles::finish(std::uint64_t number, bool is_late) {
    auto job = jobs_.extract(number);
    Job& ended = job.mapped();
    if (is_late) {
        ended.child.send_signal(SIGKILL);
        ended.child.release();
        return ended.done(Error(
            Code::DeadlineExceeded,
            "the host's files: no answer within " + std::to_string(kDeadline.count()) + " s"));
    }
    (void)ended.child.reap();
    ended.done(read_report(ended.report.ref()));
}

void HostFiles::on_exit() {
    server_watch_.cancel();
    const ChildExit exit = server_.reap();
    const std::string said = last_line(messages_.ref());
    // The callback may destroy this.
    OnEnd on_end = std::move(on_end_);
    on_end(!exit.by_signal, "virtiofsd: " + to_string(exit) + (said.empty() ? "" : ": " + said));
}

}  // namespace pepita::shim
