#include "kernel-abi/sys/ring.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/types.h>
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
#include <string>
#include <string_view>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"

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

TEST(IoRing, EntriesAreOneTo4096) {
    EXPECT_EQ(IoRing::create(0).error().code(), Code::InvalidArgument);
    EXPECT_EQ(IoRing::create(4097).error().code(), Code::InvalidArgument);
    EXPECT_TRUE(IoRing::create(4096).has_value());
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
