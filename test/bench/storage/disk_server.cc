#include "test/bench/storage/disk_server.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/socket.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/vhost_user_block.h"
#include "storage/zram_store.h"

namespace pepita::bench {
namespace {

constexpr int kListener = 3;  // qemu-storage-daemon's

template <typename T>
Result<T> number_of(const std::string& text) {
    T value{};
    const char* const end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, value);
    if (error != std::errc() || at != end) {
        return Error(Code::InvalidArgument, "'" + text + "' is no number");
    }
    return value;
}

Result<std::shared_ptr<storage::Disk>> open_disk(std::string_view what, const char* argument) {
    if (what == "file") {
        return storage::file_disk(TRY(open_file(argument, O_RDWR)), storage::Access::ReadWrite);
    }
    const Bytes size(TRY(number_of<std::uint64_t>(argument)));
    Fd memory(::memfd_create("store", MFD_CLOEXEC));
    if (!memory) {
        return Error::from_errno(errno, "memfd_create");
    }
    // Room for pages that do not compress, and for the tables.
    const auto store =
        TRY(storage::ZramStore::create(std::move(memory), Bytes(2 * size.value() + (64U << 20U))));
    return storage::zram_disk(TRY(store->create_volume(
        {.name = "disk", .capacity = Pages(size.value() / kPageSize.value())})));
}

}  // namespace

Result<void> serve(std::span<char*> words) {
    if (words.size() != 4) {
        return Error(Code::InvalidArgument, "serve file|store SOCKET QUEUES FILE|BYTES");
    }
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    (void)::signal(SIGPIPE, SIG_IGN);
    const auto server = TRY(storage::VhostUserBlock::start(
        TRY(open_disk(words[0], words[3])), {.socket = words[1],
                                             .serial = "bench",
                                             .queues = TRY(number_of<std::uint16_t>(words[2]))}));
    std::puts("ready");
    (void)std::fflush(stdout);
    int signal = 0;
    (void)::sigwait(&signals, &signal);
    server->stop();
    return {};
}

Result<DiskServer> DiskServer::hold(Options options, Child child) {
    clockid_t clock{};
    const int error = ::clock_getcpuclockid(child.pid(), &clock);
    if (error != 0) {
        return Error::from_errno(error, "clock_getcpuclockid");
    }
    return DiskServer(std::move(options), std::move(child), clock);
}

double DiskServer::cpu_seconds() const {
    timespec time{};
    CHECK(::clock_gettime(clock_, &time) == 0);  // of a child that is not reaped
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

Result<DiskServer> DiskServer::start_ours(Options options, const std::string& what,
                                          const std::string& argument) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
        return Error::from_errno(errno, "pipe2");
    }
    const Fd reader(ends[0]);
    Fd writer(ends[1]);
    SpawnOptions how;
    how.path = "/proc/self/exe";
    how.arguments = {
        "vhost_user_iops", "serve", what, options.socket, std::to_string(options.queues), argument};
    how.fds = {{.fd = writer.ref(), .number = STDOUT_FILENO},
               {.fd = FdRef(STDERR_FILENO), .number = STDERR_FILENO}};
    Child child = TRY(spawn(std::move(how)), options.name);
    writer = Fd();
    std::array<char, 16> said{};
    if (::read(reader.ref().number(), said.data(), said.size()) <= 0) {
        return Error(Code::Unavailable, options.name + " did not start");
    }
    return hold(std::move(options), std::move(child));
}

Result<DiskServer> DiskServer::start_file(Options options, const std::string& file) {
    return start_ours(std::move(options), "file", file);
}

Result<DiskServer> DiskServer::start_store(Options options, Bytes size) {
    return start_ours(std::move(options), "store", std::to_string(size.value()));
}

Result<DiskServer> DiskServer::start_qemu(Options options, const std::string& program,
                                          const std::string& file, const std::string& aio) {
    // It listens at a socket of ours, so a front end can connect before it is ready. Others have
    // the file too, by turns: it is not to lock it.
    const Fd listener = TRY(listen_unix(options.socket));
    SpawnOptions how;
    how.path = program;
    how.arguments = {
        "qemu-storage-daemon", "--blockdev",
        "driver=file,node-name=disk,locking=off,filename=" + file + ",aio=" + aio, "--export",
        "type=vhost-user-blk,id=export,node-name=disk,writable=on,addr.type=fd,"
        "addr.str=" +
            std::to_string(kListener) + ",num-queues=" + std::to_string(options.queues)};
    how.fds = {{.fd = listener.ref(), .number = kListener},
               {.fd = FdRef(STDERR_FILENO), .number = STDERR_FILENO}};
    Child child = TRY(spawn(std::move(how)), options.name);
    return hold(std::move(options), std::move(child));
}

}  // namespace pepita::bench
