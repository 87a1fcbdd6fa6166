#include "kernel-abi/sys/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/eventfd.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/thread.h"
#include "kernel-abi/sys/units.h"

namespace pepita {
namespace {

Fd file_with(std::string_view text) {
    Fd file(::memfd_create("ring-test", MFD_CLOEXEC));
    EXPECT_EQ(::write(file.ref().number(), text.data(), text.size()),
              static_cast<ssize_t>(text.size()));
    return file;
}

std::map<std::uint64_t, std::int32_t> wait_for(IoRing& ring, std::size_t count) {
    std::map<std::uint64_t, std::int32_t> results;
    while (results.size() < count && ring.under_way() > 0) {
        EXPECT_TRUE(ring.wait().has_value());
        ring.reap([&](const IoRing::Completion& done) { results[done.tag] = done.result; });
    }
    return results;
}

TEST(IoRing, ReadsAndWritesAtAnOffsetOverSeveralPieces) {
    const Fd file = file_with("0123456789");
    IoRing ring = *IoRing::create(4);
    std::string a = "ab";
    std::string b = "c";
    const std::array<iovec, 2> from{iovec{.iov_base = a.data(), .iov_len = 2},
                                    iovec{.iov_base = b.data(), .iov_len = 1}};
    ASSERT_TRUE(ring.writev(file.ref(), from, 4, 77));
    EXPECT_EQ(wait_for(ring, 1), (std::map<std::uint64_t, std::int32_t>{{77, 3}}));
    std::string got(6, ' ');
    const std::array<iovec, 2> into{iovec{.iov_base = got.data(), .iov_len = 1},
                                    iovec{.iov_base = got.data() + 1, .iov_len = 5}};
    ASSERT_TRUE(ring.readv(file.ref(), into, 3, ~std::uint64_t{0}));
    EXPECT_EQ(wait_for(ring, 1), (std::map<std::uint64_t, std::int32_t>{{~std::uint64_t{0}, 6}}));
    EXPECT_EQ(got, "3abc78");
}

TEST(IoRing, ReadAtTheEndIsShort) {
    const Fd file = file_with("0123");
    IoRing ring = *IoRing::create(1);
    std::string got(8, ' ');
    const std::array<iovec, 1> into{iovec{.iov_base = got.data(), .iov_len = got.size()}};
    ASSERT_TRUE(ring.readv(file.ref(), into, 2, 1));
    EXPECT_EQ(wait_for(ring, 1)[1], 2);
}

TEST(IoRing, FailureIsANegativeErrno) {
    const Fd file = *open_file("/dev/null", O_RDONLY);
    IoRing ring = *IoRing::create(1);
    char byte = 0;
    const std::array<iovec, 1> from{iovec{.iov_base = &byte, .iov_len = 1}};
    ASSERT_TRUE(ring.writev(file.ref(), from, 0, 5));
    EXPECT_EQ(wait_for(ring, 1)[5], -EBADF);
}

TEST(IoRing, SyncsAndNopsComeBack) {
    const Fd file = file_with("x");
    IoRing ring = *IoRing::create(3);
    ASSERT_TRUE(ring.fsync(file.ref(), 1));
    ASSERT_TRUE(ring.fdatasync(file.ref(), 2));
    ASSERT_TRUE(ring.nop(3));
    EXPECT_EQ(wait_for(ring, 3), (std::map<std::uint64_t, std::int32_t>{{1, 0}, {2, 0}, {3, 0}}));
}

TEST(IoRing, NoMoreThanItsEntriesAreUnderWay) {
    IoRing ring = *IoRing::create(2);
    EXPECT_TRUE(ring.nop(1));
    EXPECT_TRUE(ring.nop(2));
    EXPECT_FALSE(ring.nop(3));
    ASSERT_TRUE(ring.submit().has_value());
    EXPECT_FALSE(ring.nop(3)) << "in flight until reaped";
    EXPECT_EQ(wait_for(ring, 2).size(), 2U);
    EXPECT_EQ(ring.under_way(), 0U);
    EXPECT_TRUE(ring.nop(3));
}

TEST(IoRing, EntriesAreOneTo8192) {
    EXPECT_EQ(IoRing::create(0).error().code(), Code::InvalidArgument);
    EXPECT_EQ(IoRing::create(8193).error().code(), Code::InvalidArgument);
    EXPECT_TRUE(IoRing::create(8192).has_value());
}

TEST(IoRing, CallbackMayQueueTheNextOperation) {
    IoRing ring = *IoRing::create(1);
    ASSERT_TRUE(ring.nop(0));
    std::vector<std::uint64_t> seen;
    while (ring.under_way() > 0) {
        ASSERT_TRUE(ring.wait().has_value());
        ring.reap([&](const IoRing::Completion& done) {
            seen.push_back(done.tag);
            if (done.tag < 3) {
                EXPECT_TRUE(ring.nop(done.tag + 1));
            }
        });
    }
    EXPECT_EQ(seen, (std::vector<std::uint64_t>{0, 1, 2, 3}));
}

TEST(IoRing, ItsDescriptorWakesAnEventLoopForWhatIsNotReadyAtOnce) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const Fd reader(ends[0]);
    const Fd writer(ends[1]);
    auto loop = *EventLoop::create();
    IoRing ring = *IoRing::create(4);
    std::map<std::uint64_t, std::int32_t> results;
    auto watch = *loop->watch(ring.fd(), EPOLLIN, [&](std::uint32_t) {
        ring.reap([&](const IoRing::Completion& done) { results[done.tag] = done.result; });
    });
    char byte = 0;
    const std::array<iovec, 1> into{iovec{.iov_base = &byte, .iov_len = 1}};
    ASSERT_TRUE(ring.readv(reader.ref(), into, ~std::uint64_t{0}, 9));
    ASSERT_TRUE(ring.submit().has_value());
    ASSERT_TRUE(loop->run_once(std::chrono::milliseconds(0)).has_value());
    EXPECT_TRUE(results.empty());
    ASSERT_EQ(::write(writer.ref().number(), "z", 1), 1);
    const auto deadline = EventLoop::Clock::now() + std::chrono::seconds(20);
    while (results.empty() && EventLoop::Clock::now() < deadline) {
        ASSERT_TRUE(loop->run_once(std::chrono::seconds(1)).has_value());
    }
    EXPECT_EQ(results[9], 1);
    EXPECT_EQ(byte, 'z');
}

// Use after free: memory that an operation writes to must not be freed under it.
TEST(IoRing, DestructorWaitsForWhatIsInFlight) {
    const Fd file = file_with(std::string(1 << 20, 'q'));
    auto into = std::make_unique<std::array<char, 1 << 20>>();
    {
        IoRing ring = *IoRing::create(1);
        const iovec piece{.iov_base = into->data(), .iov_len = into->size()};
        ASSERT_TRUE(ring.readv(file.ref(), {&piece, 1}, 0, 1));
        ASSERT_TRUE(ring.submit().has_value());
    }
    EXPECT_EQ(into->back(), 'q');
}

struct Pipe {
    Fd reader;
    Fd writer;
};

Pipe make_pipe() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    return {.reader = Fd(ends[0]), .writer = Fd(ends[1])};
}

TEST(IoRing, DestructorEndsWhatWouldWaitForEver) {
    const Pipe pipe = make_pipe();
    char byte = 0;
    const iovec piece{.iov_base = &byte, .iov_len = 1};
    IoRing ring = *IoRing::create(4);
    ASSERT_TRUE(ring.readv(pipe.reader.ref(), {&piece, 1}, ~std::uint64_t{0}, 1));
    ASSERT_TRUE(ring.poll_multishot(pipe.reader.ref(), EPOLLIN, 2));
    ASSERT_TRUE(ring.timeout(std::chrono::hours(1), 3));
    ASSERT_TRUE(ring.submit().has_value());
    EXPECT_EQ(ring.under_way(), 3U);
}

TEST(IoRing, RegisteredFilesStayOpenAndCanBeReplaced) {
    IoRing ring = *IoRing::create(2);
    const Fd other = file_with("b");
    {
        const Fd file = file_with("a");
        const std::array<FdRef, 2> files{other.ref(), file.ref()};
        ASSERT_TRUE(ring.register_files(files).has_value());
    }
    char got = 0;
    const iovec into{.iov_base = &got, .iov_len = 1};
    ASSERT_TRUE(ring.readv(RegisteredFile(1), {&into, 1}, 0, 1));
    EXPECT_EQ(wait_for(ring, 1)[1], 1);
    EXPECT_EQ(got, 'a');
    ASSERT_TRUE(ring.replace_file(RegisteredFile(1), other.ref()).has_value());
    ASSERT_TRUE(ring.readv(RegisteredFile(1), {&into, 1}, 0, 2));
    EXPECT_EQ(wait_for(ring, 1)[2], 1);
    EXPECT_EQ(got, 'b');
    ASSERT_TRUE(ring.readv(RegisteredFile(2), {&into, 1}, 0, 3));
    EXPECT_EQ(wait_for(ring, 1)[3], -EBADF);
    EXPECT_FALSE(ring.replace_file(RegisteredFile(2), other.ref()).has_value());
}

TEST(IoRing, MovesBytesThroughRegisteredBuffersAndNoOtherMemory) {
    IoRing ring = *IoRing::create(2);
    const Fd file = file_with("0123456789");
    std::vector<std::byte> first(4096);
    std::vector<std::byte> second(4096);
    const std::array<std::span<std::byte>, 2> buffers{std::span(first), std::span(second)};
    ASSERT_TRUE(ring.register_buffers(buffers).has_value());
    const std::span<std::byte> middle = std::span(second).subspan(100, 3);
    ASSERT_TRUE(ring.read_into(RegisteredBuffer(1), middle, file.ref(), 4, 1));
    EXPECT_EQ(wait_for(ring, 1)[1], 3);
    EXPECT_EQ(second[100], std::byte{'4'});
    ASSERT_TRUE(ring.write_from(RegisteredBuffer(1), middle, file.ref(), 0, 2));
    EXPECT_EQ(wait_for(ring, 1)[2], 3);
    ASSERT_TRUE(
        ring.write_from(RegisteredBuffer(1), middle, file.ref(), 7, 2, IoRing::Write::Synced));
    EXPECT_EQ(wait_for(ring, 1)[2], 3);
    std::string text(10, ' ');
    ASSERT_EQ(::pread(file.ref().number(), text.data(), 10, 0), 10);
    EXPECT_EQ(text, "4563456456");
    ASSERT_TRUE(ring.read_into(RegisteredBuffer(0), middle, file.ref(), 0, 3));
    EXPECT_EQ(wait_for(ring, 1)[3], -EFAULT) << "the second buffer's memory is not the first's";
}

TEST(IoRing, BuffersThatNoDriverFilledHoldNothing) {
    IoRing ring = *IoRing::create(2);
    const Fd file = file_with("0123456789");
    ASSERT_TRUE(ring.reserve_buffers(2).has_value());
    std::vector<std::byte> memory(16);
    ASSERT_TRUE(ring.read_into(RegisteredBuffer(1), memory, file.ref(), 0, 1));
    EXPECT_EQ(wait_for(ring, 1)[1], -EFAULT);
    EXPECT_FALSE(ring.reserve_buffers(2).has_value()) << "once";
}

TEST(IoRing, PollComesBackOnceAndMultishotUntilItIsCancelled) {
    IoRing ring = *IoRing::create(4);
    const Fd counter = *create_eventfd();
    ASSERT_TRUE(ring.poll(counter.ref(), EPOLLIN, 1));
    signal_eventfd(counter.ref());
    EXPECT_EQ(wait_for(ring, 1)[1], EPOLLIN);
    EXPECT_EQ(drain_eventfd(counter.ref()), 1U);

    std::vector<IoRing::Completion> seen;
    const auto note = [&](const IoRing::Completion& done) { seen.push_back(done); };
    ASSERT_TRUE(ring.poll_multishot(counter.ref(), EPOLLIN, 2));
    for (std::size_t i = 1; i <= 3; ++i) {
        signal_eventfd(counter.ref());
        ASSERT_TRUE(ring.wait().has_value());
        EXPECT_EQ(ring.reap(note), 1U);
        EXPECT_EQ(drain_eventfd(counter.ref()), 1U);
        EXPECT_TRUE(seen.back().more);
        EXPECT_EQ(ring.under_way(), 1U) << "it is still one";
    }
    ASSERT_TRUE(ring.cancel(2, 3));
    EXPECT_EQ(wait_for(ring, 2), (std::map<std::uint64_t, std::int32_t>{{2, -ECANCELED}, {3, 0}}));
    ASSERT_TRUE(ring.cancel(2, 4));
    EXPECT_EQ(wait_for(ring, 1)[4], -ENOENT);
}

TEST(IoRing, AcceptsOneClientOrEachThatComes) {
    const Fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_GE(listener.ref().number(), 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    // Linux gives it a name of its own, that no file system sees (unix(7), autobind).
    ASSERT_EQ(
        ::bind(listener.ref().number(), reinterpret_cast<sockaddr*>(&address), sizeof(sa_family_t)),
        0);
    socklen_t length = sizeof(address);
    ASSERT_EQ(
        ::getsockname(listener.ref().number(), reinterpret_cast<sockaddr*>(&address), &length), 0);
    ASSERT_EQ(::listen(listener.ref().number(), 8), 0);
    const auto connect = [&] {
        Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        EXPECT_EQ(::connect(client.ref().number(), reinterpret_cast<sockaddr*>(&address), length),
                  0);
        return client;
    };
    IoRing ring = *IoRing::create(2);
    ASSERT_TRUE(ring.accept(listener.ref(), 1));
    const Fd first = connect();
    const Fd served(wait_for(ring, 1)[1]);
    EXPECT_EQ(::fcntl(served.ref().number(), F_GETFD), FD_CLOEXEC);

    ASSERT_TRUE(ring.accept_multishot(listener.ref(), 2));
    std::vector<Fd> clients;
    std::vector<Fd> served_too;
    for (int i = 0; i < 3; ++i) {
        clients.push_back(connect());
        ASSERT_TRUE(ring.wait().has_value());
        ring.reap([&](const IoRing::Completion& done) {
            EXPECT_GE(done.result, 0);
            EXPECT_TRUE(done.more);
            served_too.emplace_back(done.result);
        });
    }
    EXPECT_EQ(served_too.size(), 3U);
}

TEST(IoRing, LimitEndsTheOperationBeforeIt) {
    const Pipe pipe = make_pipe();
    IoRing ring = *IoRing::create(2);
    char byte = 0;
    const iovec into{.iov_base = &byte, .iov_len = 1};
    ASSERT_TRUE(ring.readv(pipe.reader.ref(), {&into, 1}, ~std::uint64_t{0}, 1));
    ASSERT_TRUE(ring.limit_previous(std::chrono::milliseconds(1), 2));
    EXPECT_EQ(wait_for(ring, 2),
              (std::map<std::uint64_t, std::int32_t>{{1, -ECANCELED}, {2, -ETIME}}));
    ASSERT_EQ(::write(pipe.writer.ref().number(), "z", 1), 1);
    ASSERT_TRUE(ring.readv(pipe.reader.ref(), {&into, 1}, ~std::uint64_t{0}, 3));
    ASSERT_TRUE(ring.limit_previous(std::chrono::hours(1), 4));
    EXPECT_EQ(wait_for(ring, 2), (std::map<std::uint64_t, std::int32_t>{{3, 1}, {4, -ECANCELED}}));
    EXPECT_EQ(byte, 'z');
}

TEST(IoRing, LimitNeedsRoomForTwo) {
    IoRing ring = *IoRing::create(1);
    ASSERT_TRUE(ring.nop(1));
    EXPECT_FALSE(ring.limit_previous(std::chrono::hours(1), 2));
    EXPECT_EQ(wait_for(ring, 1), (std::map<std::uint64_t, std::int32_t>{{1, 0}}));
}

TEST(IoRing, TimeoutComesBack) {
    IoRing ring = *IoRing::create(1);
    ASSERT_TRUE(ring.timeout(std::chrono::milliseconds(1), 1));
    EXPECT_EQ(wait_for(ring, 1)[1], -ETIME);
}

TEST(IoRing, WaitForEndsWhereNothingComesBack) {
    const Fd counter = *create_eventfd();
    IoRing ring = *IoRing::create(1);
    ASSERT_TRUE(ring.poll(counter.ref(), EPOLLIN, 1));
    ASSERT_TRUE(ring.wait_for(std::chrono::milliseconds(1)).has_value());
    EXPECT_EQ(ring.reap([](const IoRing::Completion&) {}), 0U);
    signal_eventfd(counter.ref());
    ASSERT_TRUE(ring.wait_for(std::chrono::hours(1)).has_value());
    EXPECT_EQ(ring.reap([](const IoRing::Completion&) {}), 1U);
}

// A regular file has no commands; what counts is that the entry is taken for one.
TEST(IoRing, CommandGoesToTheFilesDriver) {
    const Fd file = file_with("");
    IoRing ring = *IoRing::create({.entries = 2, .entry_size = IoRing::EntrySize::Bytes128});
    const std::array<std::byte, 80> payload{};
    ASSERT_TRUE(ring.command(file.ref(), 1, payload, 7));
    EXPECT_EQ(wait_for(ring, 1)[7], -EOPNOTSUPP);
}

// The lab's ublk tests see buffers filled; no driver that everyone has does that.
TEST(IoRing, MultishotCommandGoesToTheFilesDriverAndBuffersAreProvidedOnce) {
    const Fd file = file_with("");
    IoRing ring = *IoRing::create(2);
    ASSERT_TRUE(ring.provide_buffers(4, Bytes(256)).has_value());
    EXPECT_FALSE(ring.provide_buffers(4, Bytes(256)).has_value());
    ASSERT_TRUE(ring.command_multishot(file.ref(), 1, {}, 7));
    EXPECT_LT(wait_for(ring, 1)[7], 0);
    EXPECT_EQ(ring.under_way(), 0U);
}

// SOCKET_URING_OP_SIOCINQ (Linux 6.7): a driver that everyone has, and that reads cmd_op.
TEST(IoRing, CommandCarriesItsOperation) {
    const Fd socket(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    ASSERT_GE(socket.ref().number(), 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof(address);
    auto* generic = reinterpret_cast<sockaddr*>(&address);
    ASSERT_EQ(::bind(socket.ref().number(), generic, length), 0);
    ASSERT_EQ(::getsockname(socket.ref().number(), generic, &length), 0);
    ASSERT_EQ(::sendto(socket.ref().number(), "hello", 5, 0, generic, length), 5);
    constexpr std::uint32_t in_queue = 0;
    constexpr std::uint32_t no_such_operation = 99;
    for (const auto size : {IoRing::EntrySize::Bytes64, IoRing::EntrySize::Bytes128}) {
        IoRing ring = *IoRing::create({.entries = 4, .entry_size = size});
        ASSERT_TRUE(ring.command(socket.ref(), in_queue, {}, 1));
        ASSERT_TRUE(ring.command(socket.ref(), no_such_operation, {}, 2));
        auto results = wait_for(ring, 2);
        if (results[1] == -EOPNOTSUPP) {
            GTEST_SKIP() << "sockets have no commands before Linux 6.7";
        }
        EXPECT_EQ(results[1], 5);
        EXPECT_EQ(results[2], -EOPNOTSUPP);
    }
}

TEST(IoRing, OfOneThreadWorksOnIt) {
    const Fd file = file_with("abc");
    const auto on_its_thread = [&] {
        IoRing ring = *IoRing::create({.entries = 4, .issuer = IoRing::Issuer::One});
        char got = 0;
        const iovec into{.iov_base = &got, .iov_len = 1};
        ASSERT_TRUE(ring.readv(file.ref(), {&into, 1}, 2, 1));
        EXPECT_EQ(wait_for(ring, 1)[1], 1);
        EXPECT_EQ(got, 'c');
        // And for what another thread brings about.
        const Fd counter = *create_eventfd();
        ASSERT_TRUE(ring.poll(counter.ref(), EPOLLIN, 2));
        ASSERT_TRUE(ring.submit().has_value());
        const Thread other = *Thread::start("other", [&] { signal_eventfd(counter.ref()); });
        EXPECT_EQ(wait_for(ring, 1)[2], EPOLLIN);
    };
    Thread thread = *Thread::start("its-thread", on_its_thread);
    thread.join();
}

TEST(IoRing, X3_RestrictedTakesOnlyTheNamedOperations) {
    const Fd file = file_with("text");
    constexpr std::array only{IoRing::Operation::Nop, IoRing::Operation::Readv};
    IoRing ring = *IoRing::create({.entries = 8, .only = only});
    std::array<char, 4> text{};
    const iovec piece{.iov_base = text.data(), .iov_len = text.size()};
    ASSERT_TRUE(ring.nop(1));
    ASSERT_TRUE(ring.readv(file.ref(), {&piece, 1}, 0, 2));
    ASSERT_TRUE(ring.writev(file.ref(), {&piece, 1}, 0, 3));
    ASSERT_TRUE(ring.fsync(file.ref(), 4));
    ASSERT_TRUE(ring.accept(file.ref(), 5));
    EXPECT_EQ(wait_for(ring, 5), (std::map<std::uint64_t, std::int32_t>{
                                     {1, 0}, {2, 4}, {3, -EACCES}, {4, -EACCES}, {5, -EACCES}}));
}

TEST(IoRing, X3_RestrictedRegistersNothing) {
    const Fd file = file_with("text");
    constexpr std::array only{IoRing::Operation::Readv};
    IoRing ring = *IoRing::create({.entries = 8, .only = only});
    const FdRef files[] = {file.ref()};
    EXPECT_EQ(ring.register_files(files).error().code(), Code::PermissionDenied);
    EXPECT_EQ(ring.reserve_buffers(1).error().code(), Code::PermissionDenied);
}

TEST(IoRing, AbandonedDoesNotWait) {
    const Pipe pipe = make_pipe();
    IoRing ring = *IoRing::create(1);
    ASSERT_TRUE(ring.poll(pipe.reader.ref(), EPOLLIN, 1));
    ASSERT_TRUE(ring.submit().has_value());
    ring.abandon();
    EXPECT_EQ(ring.under_way(), 0U);
}

// Installs a filter that answers io_uring_setup(2) with `sys_errno`, for good.
void refuse_io_uring(unsigned sys_errno) {
    std::array<sock_filter, 4> program{
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | sys_errno),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog filter{.len = program.size(), .filter = program.data()};
    ASSERT_EQ(::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
    ASSERT_EQ(::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter), 0);
}

[[noreturn]] void create_where_refused(unsigned sys_errno) {
    refuse_io_uring(sys_errno);
    const Error error = IoRing::create(1).error();
    (void)std::fprintf(stderr, "%s\n", error.message().c_str());
    std::_Exit(static_cast<int>(error.code()));
}

TEST(IoRingDeathTest, SaysWhyItCannotBe) {
    EXPECT_EXIT(create_where_refused(EPERM), testing::ExitedWithCode(7),  // PermissionDenied
                "io_uring is not permitted here .*EPERM");
    EXPECT_EXIT(create_where_refused(ENOSYS), testing::ExitedWithCode(12),  // Unsupported
                "io_uring is not in this kernel.*ENOSYS");
}

}  // namespace
}  // namespace pepita
