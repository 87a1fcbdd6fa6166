#include "kernel-abi/sys/ring.h"

#include <liburing.h>
#include <liburing/io_uring.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

// Setup flags, and why not the ones that look faster:
//
// COOP_TASKRUN keeps the kernel from interrupting us to finish an operation: it does so on our next
// system call, which an event loop makes all the time. TASKRUN_FLAG tells reap() that such work
// waits.
//
// SINGLE_ISSUER and DEFER_TASKRUN tie the ring to the thread that created it (EEXIST from any
// other), and rings are made before the threads that serve them. With DEFER_TASKRUN nothing at all
// completes until that thread asks by io_uring_enter(GETEVENTS), and whether the descriptor turns
// readable before it does so differs between kernels. One epoll loop for all wants a descriptor
// that is readable when there is something to read.

namespace pepita {
namespace {

constexpr std::uint32_t kEntriesMax = 4096;
constexpr std::size_t kReapBatch = 32;

Error setup_error(int sys_errno) {
    if (sys_errno == ENOSYS) {
        return Error::from_errno(sys_errno, "io_uring is not in this kernel");
    }
    if (sys_errno == EPERM || sys_errno == EACCES) {
        return Error::from_errno(sys_errno,
                                 "io_uring is not permitted here (sysctl kernel.io_uring_disabled, "
                                 "or a system call filter)");
    }
    return Error::from_errno(sys_errno, "io_uring_setup");
}

}  // namespace

struct IoRing::State {
    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    State(State&&) = delete;
    State& operator=(State&&) = delete;
    ~State() {
        if (is_open) {
            ::io_uring_queue_exit(&ring);
        }
    }

    /// An empty submission entry, or nullptr where as many as fit are under way.
    io_uring_sqe* next_entry() {
        if (under_way == entries) {
            return nullptr;
        }
        io_uring_sqe* entry = ::io_uring_get_sqe(&ring);
        CHECK(entry != nullptr);  // the submission queue is as long as `entries`, or longer
        ++under_way;
        return entry;
    }

    io_uring ring{};
    bool is_open = false;
    std::uint32_t entries = 0;
    std::uint32_t under_way = 0;
};

Result<IoRing> IoRing::create(std::uint32_t entries) {
    if (entries == 0 || entries > kEntriesMax) {
        return Error(Code::InvalidArgument, "io_uring of " + std::to_string(entries) +
                                                " entries: 1 to " + std::to_string(kEntriesMax));
    }
    auto state = std::make_unique<State>();
    state->entries = entries;
    int failed = ::io_uring_queue_init(entries, &state->ring,
                                       IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG);
    if (failed == -EINVAL) {  // before Linux 5.19
        failed = ::io_uring_queue_init(entries, &state->ring, 0);
    }
    if (failed != 0) {
        return setup_error(-failed);
    }
    state->is_open = true;
    return IoRing(std::move(state));
}

IoRing::IoRing(std::unique_ptr<State> state) : state_(std::move(state)) {}
IoRing::IoRing(IoRing&&) noexcept = default;
IoRing& IoRing::operator=(IoRing&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}

IoRing::~IoRing() {
    // Closing the ring does not wait for the kernel, and what it still writes to may be freed next.
    while (state_ != nullptr && state_->under_way > 0) {
        CHECK(wait().has_value());
        reap([](const Completion&) {});
    }
}

bool IoRing::readv(FdRef file, std::span<const iovec> into, std::uint64_t offset,
                   std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_readv(entry, file.number(), into.data(), static_cast<unsigned>(into.size()),
                          offset);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::writev(FdRef file, std::span<const iovec> from, std::uint64_t offset,
                    std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_writev(entry, file.number(), from.data(), static_cast<unsigned>(from.size()),
                           offset);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::fsync(FdRef file, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_fsync(entry, file.number(), 0);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::fdatasync(FdRef file, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_fsync(entry, file.number(), IORING_FSYNC_DATASYNC);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::nop(std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_nop(entry);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

Result<void> IoRing::submit() {
    while (::io_uring_sq_ready(&state_->ring) > 0) {
        const int taken = ::io_uring_submit(&state_->ring);
        if (taken == -EINTR) {
            continue;
        }
        const bool others_run = state_->under_way > ::io_uring_sq_ready(&state_->ring);
        if ((taken == -EAGAIN || taken == -EBUSY) && others_run) {
            break;  // the kernel is short of something; what comes back makes room
        }
        if (taken < 0) {
            return Error::from_errno(-taken, "io_uring_enter");
        }
        CHECK(taken > 0);  // or this would not end
    }
    return {};
}

std::size_t IoRing::reap(const std::function<void(const Completion&)>& on_complete) {
    std::size_t count = 0;
    for (;;) {
        std::array<io_uring_cqe*, kReapBatch> entries{};
        const unsigned got = ::io_uring_peek_batch_cqe(&state_->ring, entries.data(), kReapBatch);
        if (got == 0) {
            return count;
        }
        // Copied and given back first: the callback may queue, and its operations need the room.
        std::array<Completion, kReapBatch> completions{};
        for (unsigned i = 0; i < got; ++i) {
            completions[i] = {.tag = ::io_uring_cqe_get_data64(entries[i]),
                              .result = entries[i]->res};
        }
        ::io_uring_cq_advance(&state_->ring, got);
        state_->under_way -= got;
        for (const Completion& completion : std::span(completions).first(got)) {
            on_complete(completion);
        }
        count += got;
    }
}

Result<void> IoRing::wait() {
    TRY(submit());
    while (state_->under_way > 0) {
        io_uring_cqe* entry = nullptr;
        const int failed = ::io_uring_wait_cqe(&state_->ring, &entry);
        if (failed == 0) {
            break;
        }
        if (failed != -EINTR) {
            return Error::from_errno(-failed, "io_uring_enter");
        }
    }
    return {};
}

std::uint32_t IoRing::under_way() const { return state_->under_way; }

FdRef IoRing::fd() const { return FdRef(state_->ring.ring_fd); }

}  // namespace pepita
