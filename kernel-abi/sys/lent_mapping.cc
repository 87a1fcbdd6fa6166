#include "kernel-abi/sys/lent_mapping.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

/// A mapping as the handler sees it. It runs amid anything, so it takes no lock: `begin` is written
/// last, and nobody faults in a mapping before it is there or after it went.
struct Watched {
    std::atomic<std::uintptr_t> begin;  // 0: free
    std::atomic<std::size_t> size;
    std::atomic<int> lost;
};

constexpr std::size_t kWatchedMax = 8192;

// Of static storage: the handler may find them at any time, the end of the process included.
std::array<Watched, kWatchedMax> watched;
std::atomic<std::size_t> watched_end{0};  // those from here on were never used
struct sigaction before;                  // what was done about SIGBUS

bool take_over(std::uintptr_t address) {
    const std::size_t end = watched_end.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < end; ++i) {
        const std::uintptr_t begin = watched[i].begin.load(std::memory_order_acquire);
        const std::size_t size = watched[i].size.load(std::memory_order_relaxed);
        if (begin == 0 || address - begin >= size) {
            continue;
        }
        // The whole, not one page: a lender that broke its word has no say any more.
        // SAFETY: replaces pages of that very mapping, whose owner keeps the addresses.
        void* const at = reinterpret_cast<void*>(begin);  // NOLINT(performance-no-int-to-ptr)
        if (::mmap(at, size, PROT_READ | PROT_WRITE,
                   MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) == MAP_FAILED) {
            return false;
        }
        signal_eventfd(FdRef(watched[i].lost.load(std::memory_order_relaxed)));
        return true;
    }
    return false;
}

void on_bus_error(int signal, siginfo_t* info, void* /*context*/) {
    const int error = errno;
    const bool is_fault = info->si_code == BUS_ADRERR;
    if (!is_fault || !take_over(reinterpret_cast<std::uintptr_t>(info->si_addr))) {
        (void)::sigaction(signal, &before, nullptr);
        if (info->si_code <= 0) {  // somebody sent it; a fault comes again by itself
            (void)::raise(signal);
        }
    }
    errno = error;
}

void handle_bus_errors() {
    static std::once_flag once;
    std::call_once(once, [] {
        struct sigaction action{};
        action.sa_sigaction = on_bus_error;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        CHECK(::sigaction(SIGBUS, &action, &before) == 0);
    });
}

std::mutex& registering() {
    static std::mutex mutex;
    return mutex;
}

struct Range {
    std::uint64_t begin;
    std::uint64_t end;
};

/// The whole pages of the file that hold these bytes: a mapping of huge pages is neither made nor
/// replaced in part.
Result<Range> pages_around(FdRef file, std::uint64_t offset, std::uint64_t size) {
    // Only a file in memory has seals, if no more than the one against more of them. Asked first:
    // of another program's file (FUSE) already fstat(2) may wait.
    if (::fcntl(file.number(), F_GET_SEALS) < 0) {
        return Error(Code::InvalidArgument, "it is no file in memory (memfd, tmpfs, hugetlbfs)");
    }
    struct stat status{};
    if (::fstat(file.number(), &status) != 0) {
        return Error::from_errno(errno, "fstat");
    }
    const auto length = static_cast<std::uint64_t>(status.st_size);
    if (size == 0 || offset > length || size > length - offset) {
        return Error(Code::InvalidArgument, "its file has " + std::to_string(length) + " B, not " +
                                                std::to_string(size) + " from " +
                                                std::to_string(offset) + " on");
    }
    const auto page =
        std::max<std::uint64_t>(kPageSize.value(), static_cast<std::uint64_t>(status.st_blksize));
    const std::uint64_t end = offset + size;
    return Range{.begin = offset / page * page, .end = (end + page - 1) / page * page};
}

}  // namespace

Result<LentMapping> LentMapping::map(FdRef file, Bytes size, std::uint64_t offset, FdRef lost) {
    handle_bus_errors();
    const Range range = TRY(pages_around(file, offset, size.value()));
    Mapping mapping = TRY(Mapping::shared(file, Bytes(range.end - range.begin), range.begin));
    const std::span<std::byte> bytes = mapping.bytes().subspan(offset - range.begin, size.value());
    const std::scoped_lock lock(registering());
    auto* const place = std::ranges::find_if(
        watched, [](const Watched& its) { return its.begin.load(std::memory_order_relaxed) == 0; });
    if (place == watched.end()) {
        return Error(Code::ResourceExhausted, "too much memory is lent to this process");
    }
    const auto index = static_cast<std::size_t>(place - watched.begin());
    place->size.store(mapping.bytes().size(), std::memory_order_relaxed);
    place->lost.store(lost.number(), std::memory_order_relaxed);
    place->begin.store(reinterpret_cast<std::uintptr_t>(mapping.bytes().data()),
                       std::memory_order_release);
    watched_end.store(std::max(watched_end.load(std::memory_order_relaxed), index + 1),
                      std::memory_order_release);
    return LentMapping(std::move(mapping), bytes, index);
}

LentMapping::~LentMapping() {
    if (watched_ != kNone) {
        const std::scoped_lock lock(registering());
        watched[watched_].begin.store(0, std::memory_order_release);
    }
}

}  // namespace pepita
