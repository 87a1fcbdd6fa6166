#include "kernel-abi/sys/ring.h"

#include <liburing.h>
#include <liburing/io_uring.h>
#include <linux/time_types.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

// Setup flags, and why not always the ones that look faster:
//
// COOP_TASKRUN keeps the kernel from interrupting us to finish an operation: it does so on our next
// system call, which an event loop makes all the time. TASKRUN_FLAG tells reap() that such work
// waits.
//
// SINGLE_ISSUER and DEFER_TASKRUN tie the ring to the thread that created it (EEXIST from any
// other), and most rings are made before the threads that serve them. With DEFER_TASKRUN nothing at
// all completes until that thread asks by io_uring_enter(GETEVENTS). Issuer::One promises both.

namespace pepita {
namespace {

constexpr std::uint32_t kEntriesMax = 8192;
constexpr std::size_t kReapBatch = 32;
constexpr std::uint64_t kOwnTag = ~std::uint64_t{0};  // of the cancellation at the end
// Linux include/uapi/linux/io_uring.h: cmd[] of struct io_uring_sqe.
constexpr std::size_t kPayloadOffset = 48;
constexpr std::size_t kPayloadMax = 16;
constexpr std::size_t kPayloadMax128 = 80;
constexpr std::uint16_t kBufferGroup = 0;
constexpr std::uint32_t kCommandMultishot = 1U << 1U;  // IORING_URING_CMD_MULTISHOT, Linux 6.18

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

__kernel_timespec to_timespec(std::chrono::nanoseconds time) {
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    return {.tv_sec = seconds.count(), .tv_nsec = (time - seconds).count()};
}

std::uint8_t code_of(IoRing::Operation operation) {
    switch (operation) {
        case IoRing::Operation::Nop:
            return IORING_OP_NOP;
        case IoRing::Operation::Readv:
            return IORING_OP_READV;
        case IoRing::Operation::Writev:
            return IORING_OP_WRITEV;
        case IoRing::Operation::Fsync:
            return IORING_OP_FSYNC;
        case IoRing::Operation::Fallocate:
            return IORING_OP_FALLOCATE;
    }
    std::unreachable();
}

/// Restricts a ring that was created disabled, and enables it. What no restriction names is
/// refused: flags of operations, and io_uring_register(2).
Result<void> restrict(io_uring& ring, std::span<const IoRing::Operation> only) {
    std::vector<io_uring_restriction> rules;
    for (const IoRing::Operation operation : only) {
        io_uring_restriction rule{};
        rule.opcode = IORING_RESTRICTION_SQE_OP;
        rule.sqe_op = code_of(operation);
        rules.push_back(rule);
    }
    int failed =
        ::io_uring_register_restrictions(&ring, rules.data(), static_cast<unsigned>(rules.size()));
    if (failed == 0) {
        failed = ::io_uring_enable_rings(&ring);
    }
    if (failed != 0) {
        return Error::from_errno(-failed, "restrict an io_uring");
    }
    return {};
}

void set_file(io_uring_sqe& entry, IoRing::File file) {
    if (file.is_registered()) {
        entry.flags = static_cast<std::uint8_t>(entry.flags | IOSQE_FIXED_FILE);
    }
}

}  // namespace

struct IoRing::State {
    State() = default;
    State(const State&) = delete;
    State& operator=(const State&) = delete;
    State(State&&) = delete;
    State& operator=(State&&) = delete;
    ~State() { close(); }

    void close() {
        if (is_open) {
            ::io_uring_queue_exit(&ring);
            is_open = false;
        }
        under_way = 0;
    }

    /// An empty submission entry, or nullptr where as many as fit are under way.
    io_uring_sqe* next_entry() {
        if (under_way == entries) {
            return nullptr;
        }
        io_uring_sqe* entry = ::io_uring_get_sqe(&ring);
        CHECK(entry != nullptr);  // the submission queue is as long as `entries`, or longer
        ++under_way;
        last = entry;
        return entry;
    }

    /// Where the kernel finds the time until submit() is through.
    __kernel_timespec* keep(std::chrono::nanoseconds time) {
        return &times.emplace_back(to_timespec(time));
    }

    /// After entries went to the kernel.
    void forget_submitted() {
        last = nullptr;
        if (::io_uring_sq_ready(&ring) == 0) {
            times.clear();
        }
    }

    /// What a call of io_uring_enter(2) gave: whether to go on, or the Error.
    Result<void> check_taken(int taken) {
        forget_submitted();
        const bool others_run = under_way > ::io_uring_sq_ready(&ring);
        // Short of something: what comes back makes room.
        const bool is_short = (taken == -EAGAIN || taken == -EBUSY) && others_run;
        if (taken < 0 && taken != -EINTR && !is_short) {
            return Error::from_errno(-taken, "io_uring_enter");
        }
        return {};
    }

    // SAFETY: a ring of io_uring_buf is what the kernel was told stands in this mapping.
    io_uring_buf_ring* buffer_ring() {
        return reinterpret_cast<io_uring_buf_ring*>(places.bytes().data());
    }

    std::span<std::byte> provided_buffer(std::uint16_t buffer) const {
        return provided.bytes().subspan(buffer * provided_size.value(), provided_size.value());
    }

    void provide(std::uint16_t buffer) {
        const std::span<std::byte> bytes = provided_buffer(buffer);
        ::io_uring_buf_ring_add(buffer_ring(), bytes.data(), static_cast<unsigned>(bytes.size()),
                                buffer, ::io_uring_buf_ring_mask(provided_count), 0);
        ::io_uring_buf_ring_advance(buffer_ring(), 1);
    }

    std::span<const std::byte> provided_bytes(const io_uring_cqe& done) const {
        if ((done.flags & IORING_CQE_F_BUFFER) == 0) {
            return {};
        }
        const auto buffer = static_cast<std::uint16_t>(done.flags >> IORING_CQE_BUFFER_SHIFT);
        return provided_buffer(buffer).first(static_cast<std::size_t>(std::max(done.res, 0)));
    }

    void provide_again(const Completion& done) {
        if (done.bytes.data() != nullptr) {
            provide(static_cast<std::uint16_t>(
                static_cast<std::size_t>(done.bytes.data() - provided.bytes().data()) /
                provided_size.value()));
        }
    }

    io_uring ring{};
    Mapping places;    // of the provided buffers; the kernel reads there which are free
    Mapping provided;  // the buffers
    std::uint16_t provided_count = 0;
    Bytes provided_size{0};
    bool is_open = false;
    std::uint32_t entries = 0;
    std::uint32_t under_way = 0;
    std::size_t payload_max = kPayloadMax;
    bool waits_for_others = false;        // something was queued whose end others decide
    io_uring_sqe* last = nullptr;         // the one queued last, until it is submitted
    std::deque<__kernel_timespec> times;  // of what is queued; does not move them
};

Result<void> IoRing::open(State& state, const Options& options) {
    const std::uint32_t size =
        (options.entry_size == EntrySize::Bytes128 ? IORING_SETUP_SQE128 : 0U) |
        (options.only.empty() ? 0U : IORING_SETUP_R_DISABLED);
    const std::uint32_t cooperative = IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    const std::uint32_t deferred =
        IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    int failed = -EINVAL;
    if (options.issuer == Issuer::One) {
        failed = ::io_uring_queue_init(options.entries, &state.ring, size | deferred);
    }
    if (failed == -EINVAL) {  // before Linux 6.1
        failed = ::io_uring_queue_init(options.entries, &state.ring, size | cooperative);
    }
    if (failed == -EINVAL) {  // before Linux 5.19
        failed = ::io_uring_queue_init(options.entries, &state.ring, size);
    }
    if (failed != 0) {
        return setup_error(-failed);
    }
    state.is_open = true;
    if (!options.only.empty()) {
        return restrict(state.ring, options.only);
    }
    if (options.issuer == Issuer::One) {
        // Spares the kernel a look at the descriptor table, which belongs to one thread too.
        (void)::io_uring_register_ring_fd(&state.ring);
    }
    return {};
}

Result<IoRing> IoRing::create(const Options& options) {
    if (options.entries == 0 || options.entries > kEntriesMax) {
        return Error(Code::InvalidArgument, "io_uring of " + std::to_string(options.entries) +
                                                " entries: 1 to " + std::to_string(kEntriesMax));
    }
    auto state = std::make_unique<State>();
    state->entries = options.entries;
    if (options.entry_size == EntrySize::Bytes128) {
        state->payload_max = kPayloadMax128;
    }
    TRY(open(*state, options));
    return IoRing(std::move(state));
}

IoRing::IoRing(std::unique_ptr<State> state) : state_(std::move(state)) {}
IoRing::IoRing(IoRing&&) noexcept = default;
IoRing& IoRing::operator=(IoRing&& other) noexcept {
    std::swap(state_, other.state_);
    return *this;
}

IoRing::~IoRing() {
    if (state_ == nullptr || state_->under_way == 0) {
        return;
    }
    // Closing the ring does not wait for the kernel, and what it still writes to may be freed next.
    CHECK(submit().has_value());
    io_uring_sqe* entry = state_->waits_for_others ? ::io_uring_get_sqe(&state_->ring) : nullptr;
    if (entry != nullptr) {  // EINVAL before Linux 5.19: then we wait, however long it takes
        ::io_uring_prep_cancel64(entry, 0, IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL);
        ::io_uring_sqe_set_data64(entry, kOwnTag);
        ++state_->under_way;
    }
    while (state_->under_way > 0) {
        CHECK(wait().has_value());
        reap([](const Completion&) {});
    }
}

bool IoRing::readv(File file, std::span<const iovec> into, std::uint64_t offset,
                   std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_readv(entry, file.number(), into.data(), static_cast<unsigned>(into.size()),
                          offset);
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::writev(File file, std::span<const iovec> from, std::uint64_t offset,
                    std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_writev(entry, file.number(), from.data(), static_cast<unsigned>(from.size()),
                           offset);
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::read_into(RegisteredBuffer buffer, std::span<std::byte> into, File file,
                       std::uint64_t offset, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_read_fixed(entry, file.number(), into.data(),
                               static_cast<unsigned>(into.size()), offset,
                               static_cast<int>(buffer));
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::write_from(RegisteredBuffer buffer, std::span<const std::byte> from, File file,
                        std::uint64_t offset, std::uint64_t tag, Write how) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_write_fixed(entry, file.number(), from.data(),
                                static_cast<unsigned>(from.size()), offset,
                                static_cast<int>(buffer));
    entry->rw_flags = how == Write::Synced ? RWF_DSYNC : 0;
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::fsync(File file, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_fsync(entry, file.number(), 0);
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::fdatasync(File file, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_fsync(entry, file.number(), IORING_FSYNC_DATASYNC);
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::fallocate(File file, int mode, std::uint64_t offset, std::uint64_t length,
                       std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_fallocate(entry, file.number(), mode, static_cast<off_t>(offset),
                              static_cast<off_t>(length));
    set_file(*entry, file);
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

bool IoRing::poll(File file, std::uint32_t events, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_poll_add(entry, file.number(), events);
    state_->waits_for_others = true;
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::poll_multishot(File file, std::uint32_t events, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_poll_multishot(entry, file.number(), events);
    state_->waits_for_others = true;
    set_file(*entry, file);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::accept(File listener, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_accept(entry, listener.number(), nullptr, nullptr, SOCK_CLOEXEC);
    state_->waits_for_others = true;
    set_file(*entry, listener);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::accept_multishot(File listener, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_multishot_accept(entry, listener.number(), nullptr, nullptr, SOCK_CLOEXEC);
    state_->waits_for_others = true;
    set_file(*entry, listener);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::timeout(std::chrono::nanoseconds time, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_timeout(entry, state_->keep(time), 0, 0);
    state_->waits_for_others = true;
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::limit_previous(std::chrono::nanoseconds time, std::uint64_t tag) {
    io_uring_sqe* limited = state_->last;
    CHECK(limited != nullptr);  // it must not have been submitted
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    limited->flags = static_cast<std::uint8_t>(limited->flags | IOSQE_IO_LINK);
    ::io_uring_prep_link_timeout(entry, state_->keep(time), 0);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::cancel(std::uint64_t tag_of_other, std::uint64_t tag) {
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_cancel64(entry, tag_of_other, 0);
    ::io_uring_sqe_set_data64(entry, tag);
    return true;
}

bool IoRing::queue_command(File file, std::uint32_t operation, std::span<const std::byte> payload) {
    CHECK(payload.size() <= state_->payload_max);
    io_uring_sqe* entry = state_->next_entry();
    if (entry == nullptr) {
        return false;
    }
    ::io_uring_prep_rw(IORING_OP_URING_CMD, entry, file.number(), nullptr, 0, 0);
    entry->cmd_op = operation;
    set_file(*entry, file);
    // SAFETY: an entry is 64 bytes long, or 128 where payload_max is 80, and the payload stands
    // from byte 48 on. What an earlier operation left there must not be taken for ours.
    auto* room = reinterpret_cast<std::byte*>(entry) + kPayloadOffset;
    std::memset(room, 0, state_->payload_max);
    std::ranges::copy(payload, room);
    return true;
}

bool IoRing::command(File file, std::uint32_t operation, std::span<const std::byte> payload,
                     std::uint64_t tag, std::uint64_t address) {
    if (!queue_command(file, operation, payload)) {
        return false;
    }
    state_->last->addr = address;
    ::io_uring_sqe_set_data64(state_->last, tag);
    return true;
}

bool IoRing::command_multishot(File file, std::uint32_t operation,
                               std::span<const std::byte> payload, std::uint64_t tag) {
    if (!queue_command(file, operation, payload)) {
        return false;
    }
    io_uring_sqe* entry = state_->last;
    entry->rw_flags = kCommandMultishot;
    entry->flags = static_cast<std::uint8_t>(entry->flags | IOSQE_BUFFER_SELECT);
    entry->buf_group = kBufferGroup;
    ::io_uring_sqe_set_data64(entry, tag);
    state_->waits_for_others = true;
    return true;
}

Result<void> IoRing::register_files(std::span<const FdRef> files) {
    std::vector<int> numbers;
    for (const FdRef file : files) {
        numbers.push_back(file.number());
    }
    const int failed = ::io_uring_register_files(&state_->ring, numbers.data(),
                                                 static_cast<unsigned>(numbers.size()));
    if (failed < 0) {
        return Error::from_errno(-failed, "register files with io_uring");
    }
    return {};
}

Result<void> IoRing::replace_file(RegisteredFile file, FdRef by) {
    const int number = by.number();
    const int replaced =
        ::io_uring_register_files_update(&state_->ring, static_cast<unsigned>(file), &number, 1);
    if (replaced < 0) {
        return Error::from_errno(-replaced, "replace a file registered with io_uring");
    }
    return {};
}

Result<void> IoRing::register_buffers(std::span<const std::span<std::byte>> buffers) {
    std::vector<iovec> pieces;
    for (const std::span<std::byte> buffer : buffers) {
        pieces.push_back({.iov_base = buffer.data(), .iov_len = buffer.size()});
    }
    const int failed = ::io_uring_register_buffers(&state_->ring, pieces.data(),
                                                   static_cast<unsigned>(pieces.size()));
    if (failed < 0) {
        return Error::from_errno(-failed, "register buffers with io_uring");
    }
    return {};
}

Result<void> IoRing::reserve_buffers(std::uint32_t count) {
    const int failed = ::io_uring_register_buffers_sparse(&state_->ring, count);
    if (failed < 0) {
        return Error::from_errno(-failed, "reserve buffers of io_uring");
    }
    return {};
}

Result<void> IoRing::provide_buffers(std::uint16_t count, Bytes size) {
    Mapping places = TRY(Mapping::anonymous(Bytes(count * sizeof(io_uring_buf))));
    state_->provided = TRY(Mapping::anonymous(Bytes(count * size.value())));
    io_uring_buf_reg request{};
    request.ring_addr = reinterpret_cast<std::uintptr_t>(places.bytes().data());
    request.ring_entries = count;
    request.bgid = kBufferGroup;
    const int failed = ::io_uring_register_buf_ring(&state_->ring, &request, 0);
    if (failed < 0) {
        return Error::from_errno(-failed, "provide buffers to io_uring");
    }
    state_->places = std::move(places);
    state_->provided_count = count;
    state_->provided_size = size;
    for (std::uint16_t buffer = 0; buffer < count; ++buffer) {
        state_->provide(buffer);
    }
    return {};
}

Result<void> IoRing::submit() {
    while (::io_uring_sq_ready(&state_->ring) > 0) {
        const int taken = ::io_uring_submit(&state_->ring);
        TRY(state_->check_taken(taken));
        if (taken == -EAGAIN || taken == -EBUSY) {
            break;
        }
        CHECK(taken != 0);  // or this would not end
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
            const bool more = (entries[i]->flags & IORING_CQE_F_MORE) != 0;
            completions[i] = {.tag = ::io_uring_cqe_get_data64(entries[i]),
                              .result = entries[i]->res,
                              .more = more,
                              .bytes = state_->provided_bytes(*entries[i])};
            state_->under_way -= more ? 0U : 1U;
        }
        ::io_uring_cq_advance(&state_->ring, got);
        for (const Completion& completion : std::span(completions).first(got)) {
            on_complete(completion);
            state_->provide_again(completion);
        }
        count += got;
    }
}

Result<void> IoRing::wait() {
    while (state_->under_way > 0) {
        if (::io_uring_cq_ready(&state_->ring) > 0) {
            return submit();
        }
        const int taken = ::io_uring_submit_and_wait(&state_->ring, 1);
        TRY(state_->check_taken(taken));
        if (taken == -EAGAIN || taken == -EBUSY) {
            io_uring_cqe* entry = nullptr;
            TRY(state_->check_taken(::io_uring_wait_cqe(&state_->ring, &entry)));
        }
    }
    return {};
}

Result<void> IoRing::wait_for(std::chrono::nanoseconds limit) {
    TRY(submit());
    if (state_->under_way == 0 || ::io_uring_cq_ready(&state_->ring) > 0) {
        return {};
    }
    __kernel_timespec time = to_timespec(limit);
    io_uring_cqe* entry = nullptr;
    const int failed = ::io_uring_wait_cqe_timeout(&state_->ring, &entry, &time);
    if (failed == -ETIME) {
        return {};
    }
    return state_->check_taken(failed);
}

void IoRing::abandon() { state_->close(); }

std::uint32_t IoRing::under_way() const { return state_->under_way; }

FdRef IoRing::fd() const { return FdRef(state_->ring.ring_fd); }

}  // namespace pepita
