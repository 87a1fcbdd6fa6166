// Serves disks of memory by ublk, for tests in the lab.
//
//   ublk_disk serve [OPTION=VALUE…]   prints "serving ID QUEUES" for each device, until SIGTERM
//   (stop
//                                     and delete) or SIGHUP (detach: the devices wait for
//                                     recovery); then "flushes N"
//       file=PATH      the memory: a file as large as the disk; else of this process, size=MIB
//       store=PATH     a compressed volume of size=MIB in that memory file, which may be empty
//       io=ring        reads and writes the file through an io_uring instead of mapping it
//       io=null        reads and writes nothing, and says that it did
//       recover=ID     takes that device over
//       devices=N      as many, each with memory of its own
//       queues=N depth=N pages=N (then no space) limit=SECONDS (for the end)
//       recovery=no  copy=server|kernel  commands=each  owner=user  access=read-only  namespace=own
//   ublk_disk list                    "ID STATE QUEUES DEPTH FLAGS" a line
//   ublk_disk features                what the kernel has, as one number
//   ublk_disk delete ID
//   ublk_disk cycle N                 adds, serves, reads and deletes a device N times; the process
//                                     must have as many descriptors and threads as before

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/ublk.h"
#include "storage/block_device.h"
#include "storage/disk.h"
#include "storage/ublk_control.h"
#include "storage/ublk_server.h"
#include "storage/zram_store.h"
#include "test/lab/mapped_disk.h"

namespace pepita::storage {
namespace {

using Arguments = std::map<std::string, std::string, std::less<>>;

Result<std::uint64_t> number(std::string_view text) {
    std::uint64_t value = 0;
    const auto read = std::from_chars(text.data(), text.data() + text.size(), value);
    if (read.ec != std::errc() || read.ptr != text.data() + text.size()) {
        return Error(Code::InvalidArgument, "'" + std::string(text) + "' is not a number");
    }
    return value;
}

Result<std::uint64_t> number_of(const Arguments& arguments, std::string_view name,
                                std::uint64_t otherwise) {
    const auto found = arguments.find(name);
    return found == arguments.end() ? Result<std::uint64_t>(otherwise) : number(found->second);
}

bool is(const Arguments& arguments, std::string_view name, std::string_view value) {
    const auto found = arguments.find(name);
    return found != arguments.end() && found->second == value;
}

/// The volume that is in a store's memory file; an empty file gets both.
Result<std::shared_ptr<ZramVolume>> open_volume(const std::string& path, Pages capacity) {
    Fd file = TRY(open_file(path.c_str(), O_RDWR));
    if (TRY(file_size(file.ref())).value() != 0) {
        return TRY(ZramStore::open(std::move(file)))->find("disk");
    }
    const Bytes limit(2 * to_bytes(capacity).value() + (4U << 20U));
    return TRY(ZramStore::create(std::move(file), limit))
        ->create_volume({.name = "disk", .capacity = capacity});
}

Result<std::shared_ptr<Disk>> make_disk(const Arguments& arguments,
                                        std::atomic<std::uint64_t>& flushes) {
    MappedDisk::Options options;
    options.flushes = &flushes;
    options.pages_max = TRY(number_of(arguments, "pages", options.pages_max));
    options.is_null = is(arguments, "io", "null");
    if (is(arguments, "access", "read-only")) {
        options.access = Access::ReadOnly;
    }
    if (const auto store = arguments.find("store"); store != arguments.end()) {
        const Bytes size(TRY(number_of(arguments, "size", 64)) << 20U);
        return zram_disk(TRY(open_volume(store->second, Pages(size.value() / kPageSize.value()))));
    }
    const auto path = arguments.find("file");
    if (path == arguments.end()) {
        const Bytes size(TRY(number_of(arguments, "size", 64)) << 20U);
        return std::shared_ptr<Disk>(
            std::make_shared<MappedDisk>(TRY(Mapping::anonymous(size)), options));
    }
    Fd file = TRY(open_file(path->second.c_str(), O_RDWR));
    const Bytes size = TRY(file_size(file.ref()));
    if (is(arguments, "io", "ring")) {
        return file_disk(std::move(file), Access::ReadWrite);
    }
    return std::shared_ptr<Disk>(
        std::make_shared<MappedDisk>(TRY(Mapping::shared(file.ref(), size)), options));
}

Result<UblkServer::Options> server_options(const Arguments& arguments) {
    UblkServer::Options options;
    options.queues = static_cast<std::uint16_t>(TRY(number_of(arguments, "queues", 1)));
    options.depth = static_cast<std::uint16_t>(TRY(number_of(arguments, "depth", 64)));
    if (is(arguments, "recovery", "no")) {
        options.recovery = UblkServer::Recovery::None;
    }
    if (is(arguments, "copy", "server")) {
        options.copy = UblkServer::Copy::ByServer;
    }
    if (is(arguments, "copy", "kernel")) {
        options.copy = UblkServer::Copy::ByKernel;
    }
    if (is(arguments, "commands", "each")) {
        options.commands = UblkServer::Commands::Each;
    }
    if (is(arguments, "owner", "user")) {
        options.owner = UblkServer::Owner::User;
    }
    return options;
}

/// SIGTERM, SIGHUP, or 0 where a device was taken away by others.
Result<int> wait_for_end(FdRef signals, const std::vector<std::unique_ptr<UblkServer>>& servers) {
    std::vector<pollfd> watched{{.fd = signals.number(), .events = POLLIN, .revents = 0}};
    for (const std::unique_ptr<UblkServer>& server : servers) {
        watched.push_back({.fd = server->ended().number(), .events = POLLIN, .revents = 0});
    }
    while (::poll(watched.data(), watched.size(), -1) < 0) {
        if (errno != EINTR) {
            return Error::from_errno(errno, "poll");
        }
    }
    if ((watched.front().revents & POLLIN) == 0) {
        return 0;
    }
    signalfd_siginfo info{};
    if (::read(signals.number(), &info, sizeof(info)) != sizeof(info)) {
        return Error::from_errno(errno, "read signalfd");
    }
    return static_cast<int>(info.ssi_signo);
}

Result<void> serve(const Arguments& arguments) {
    sigset_t set;
    ::sigemptyset(&set);
    ::sigaddset(&set, SIGTERM);
    ::sigaddset(&set, SIGHUP);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    const Fd signals(::signalfd(-1, &set, SFD_CLOEXEC));
    if (!signals) {
        return Error::from_errno(errno, "signalfd");
    }
    if (is(arguments, "namespace", "own")) {
        TRY(enter_own_mount_namespace());
    }
    UblkControl control = TRY(UblkControl::open());
    const UblkServer::Options options = TRY(server_options(arguments));
    const std::uint64_t count = TRY(number_of(arguments, "devices", 1));
    const std::chrono::seconds limit(TRY(number_of(arguments, "limit", 60)));
    std::atomic<std::uint64_t> flushes = 0;
    std::vector<std::unique_ptr<UblkServer>> servers;
    for (std::uint64_t i = 0; i < count; ++i) {
        std::shared_ptr<Disk> disk = TRY(make_disk(arguments, flushes));
        if (arguments.contains("recover")) {
            const auto id = static_cast<std::uint32_t>(TRY(number_of(arguments, "recover", 0)));
            servers.push_back(TRY(UblkServer::recover(control, UblkId(id), std::move(disk))));
        } else {
            servers.push_back(TRY(UblkServer::start(control, std::move(disk), options)));
        }
        (void)std::printf("serving %u %u\n", static_cast<std::uint32_t>(servers.back()->id()),
                          servers.back()->queues());
        (void)std::fflush(stdout);
    }
    const int signal = TRY(wait_for_end(signals.ref(), servers));
    for (const std::unique_ptr<UblkServer>& server : servers) {
        if (signal == SIGHUP) {
            server->detach();
        } else {
            TRY(server->stop(limit));
        }
    }
    (void)std::printf("flushes %llu\n", static_cast<unsigned long long>(flushes));
    return {};
}

Result<void> list() {
    UblkControl control = TRY(UblkControl::open());
    for (const abi::UblkDeviceInfo& device : TRY(control.list())) {
        (void)std::printf("%u %u %u %u %#llx\n", device.dev_id, device.state, device.nr_hw_queues,
                          device.queue_depth, static_cast<unsigned long long>(device.flags));
    }
    return {};
}

std::ptrdiff_t count_descriptors() {
    std::error_code error;
    return std::distance(std::filesystem::directory_iterator("/proc/self/fd", error), {});
}

/// Those of queues, "ublk0-3"; the kernel's io_uring workers come and go as they like.
bool has_queue_threads() {
    std::error_code error;
    for (const auto& task : std::filesystem::directory_iterator("/proc/self/task", error)) {
        const Result<std::string> name = read_file(task.path().string() + "/comm");
        if (name.has_value() && name->starts_with("ublk") && name->contains('-')) {
            return true;
        }
    }
    return false;
}

Result<void> cycle(std::uint64_t times) {
    UblkControl control = TRY(UblkControl::open());
    const auto descriptors = count_descriptors();
    for (std::uint64_t i = 0; i < times; ++i) {
        auto disk =
            std::make_shared<MappedDisk>(TRY(Mapping::anonymous(1_MiB)), MappedDisk::Options{});
        const std::unique_ptr<UblkServer> server =
            TRY(UblkServer::start(control, std::move(disk), {.depth = 4}));
        std::array<std::byte, 512> sector{};
        {
            const Fd device = TRY(open_file(ublk_block_path(server->id()).c_str(), O_RDONLY));
            TRY(read_exactly(device.ref(), sector, 0));
        }
        TRY(server->stop());
    }
    if (count_descriptors() != descriptors) {
        return Error(Code::Internal, "descriptors were left");
    }
    // A thread that was joined may be on its last way out of the kernel.
    for (int round = 0; has_queue_threads(); ++round) {
        if (round == 1000) {
            return Error(Code::Internal, "threads were left");
        }
        (void)::poll(nullptr, 0, 10);
    }
    if (!TRY(control.list()).empty()) {
        return Error(Code::Internal, "devices were left");
    }
    return {};
}

Result<void> run(std::span<const std::string_view> words) {
    const std::string_view verb = words.empty() ? "" : words.front();
    if (verb == "list") {
        return list();
    }
    if (verb == "features") {
        (void)std::printf("%#llx\n",
                          static_cast<unsigned long long>(TRY(UblkControl::open()).features()));
        return {};
    }
    if (verb == "cycle" && words.size() == 2) {
        return cycle(TRY(number(words[1])));
    }
    if (verb == "delete" && words.size() == 2) {
        const auto id = static_cast<std::uint32_t>(TRY(number(words[1])));
        UblkControl control = TRY(UblkControl::open());
        return control.remove(UblkId(id));
    }
    if (verb != "serve") {
        return Error(Code::InvalidArgument, "serve, list, features, delete ID or cycle N");
    }
    Arguments arguments;
    for (const std::string_view word : words.subspan(1)) {
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos) {
            return Error(Code::InvalidArgument, "'" + std::string(word) + "' is not NAME=VALUE");
        }
        arguments.emplace(word.substr(0, equals), word.substr(equals + 1));
    }
    return serve(arguments);
}

}  // namespace
}  // namespace pepita::storage

int main(int argc, char** argv) {
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    const pepita::Result<void> done = pepita::storage::run(words);
    if (!done.has_value()) {
        (void)std::fprintf(stderr, "ublk_disk: %s\n", done.error().message().c_str());
        return 1;
    }
    return 0;
}
