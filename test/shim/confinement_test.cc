#include "shim/confinement.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <functional>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/user_namespace.h"
#include "shim/isolation.h"

namespace pepita::shim {
namespace {

constexpr uid_t kOther = 0x7000'0001;

/// How a child ends that does `body`: its status, or 128 and the signal that ended it.
int fate(const std::function<int()>& body) {
    const pid_t child = ::fork();
    if (child == 0) {
        ::_exit(body());
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string status_line(const std::string& name) {
    const std::string status = *read_file("/proc/self/status");
    const std::size_t at = status.find("\n" + name + ":\t");
    const std::size_t value = at + name.size() + 3;
    return status.substr(value, status.find('\n', value) - value);
}

std::uint64_t set_of(const std::string& name) {
    return std::strtoull(status_line(name).c_str(), nullptr, 16);
}

class Confinement : public testing::Test {
public:
    Confinement() {
        std::string name = testing::TempDir() + "confinement-XXXXXX";
        EXPECT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
    }
    ~Confinement() override { std::filesystem::remove_all(directory_); }
    Confinement(const Confinement&) = delete;
    Confinement& operator=(const Confinement&) = delete;
    Confinement(Confinement&&) = delete;
    Confinement& operator=(Confinement&&) = delete;

    void SetUp() override {
        if (::geteuid() != 0) {
            GTEST_SKIP() << "only root has something to give up";
        }
    }

protected:
    std::filesystem::path directory_;
};

class ConfinementOf : public Confinement, public testing::WithParamInterface<Isolation> {};

TEST_P(ConfinementOf, X9_OnlyWhatIsKeptIsLeft) {
    EXPECT_EQ(fate([this] {
                  if (!confine(GetParam())) {
                      return 1;
                  }
                  const std::uint64_t kept = kept_capabilities(GetParam());
                  for (const char* set : {"CapPrm", "CapEff", "CapBnd"}) {
                      if (set_of(set) != kept) {
                          return 2;
                      }
                  }
                  const bool is_closed = set_of("CapInh") == 0 && set_of("CapAmb") == 0 &&
                                         status_line("NoNewPrivs") == "1" &&
                                         status_line("Seccomp") == "2";
                  return is_closed ? 0 : 3;
              }),
              0);
}

// A program that root executes would have all that is in the bounding set.
TEST_P(ConfinementOf, X9_AProgramHasNoMore) {
    EXPECT_EQ(fate([this] {
                  if (!confine(GetParam())) {
                      return 1;
                  }
                  SpawnOptions options;
                  options.path = "/bin/sh";
                  options.arguments = {"sh", "-c",
                                       "while read -r name set; do [ $name != CapEff: ] || "
                                       "[ $((0x$set)) = $0 ] || exit 9; done </proc/self/status",
                                       std::to_string(kept_capabilities(GetParam()))};
                  Result<Child> program = spawn(std::move(options));
                  return program ? program->reap().value : 2;
              }),
              0);
}

TEST_P(ConfinementOf, X9_OtherCallsEndIt) {
    const std::array others{SYS_ptrace, SYS_bpf,     SYS_init_module, SYS_perf_event_open,
                            SYS_keyctl, SYS_unshare, SYS_chroot,      SYS_io_uring_setup,
                            SYS_mount,  SYS_reboot,  SYS_setuid,      SYS_process_vm_writev};
    for (const long number : others) {
        EXPECT_EQ(fate([this, number] {
                      if (!confine(GetParam())) {
                          return 1;
                      }
                      (void)::syscall(number, -1, 0, 0, 0, 0, 0);
                      return 0;
                  }),
                  128 + SIGSYS)
            << "system call " << number;
    }
    EXPECT_EQ(fate([this] {
                  if (!confine(GetParam())) {
                      return 1;
                  }
                  (void)::socket(AF_INET, SOCK_STREAM, 0);
                  return 0;
              }),
              128 + SIGSYS);
}

INSTANTIATE_TEST_SUITE_P(Pods, ConfinementOf, testing::Values(Isolation::Tcg, Isolation::Process),
                         [](const auto& pod) { return std::string(to_string(pod.param)); });

TEST_F(Confinement, X9_APodOnTheHostNeedsLess) {
    EXPECT_EQ(kept_capabilities(Isolation::Kvm), kept_capabilities(Isolation::Tcg));
    EXPECT_LT(kept_capabilities(Isolation::Process), kept_capabilities(Isolation::Tcg));
}

/// What a shim does, and what it needs for that.
struct Deed {
    const char* name;
    std::uint64_t needs;
    std::function<bool()> prepare;  // with all capabilities
    std::function<bool()> work;
};

constexpr std::uint64_t bit(unsigned capability) { return std::uint64_t{1} << capability; }

// Each kept capability is one that something fails without.
TEST_F(Confinement, X9_EachKeptCapabilityIsNeeded) {
    const std::string jail = directory_ / "jail";
    const std::string file = directory_ / "file";
    ASSERT_EQ(::mkdir(jail.c_str(), 0700), 0);
    ASSERT_EQ(::chown(jail.c_str(), kOther, kOther), 0);
    const Fd made(::open(file.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    const pid_t machine = ::fork();
    if (machine == 0) {
        (void)::setresuid(kOther, kOther, kOther);
        ::_exit(::raise(SIGSTOP));
    }
    ASSERT_EQ(::waitpid(machine, nullptr, WUNTRACED), machine);
    int network = -1;
    const auto yes = [] { return true; };
    const std::array deeds{
        Deed{
            "a socket in the jail", bit(CAP_DAC_OVERRIDE), yes,
            [&] { return ::access((jail + "/vsock.sock").c_str(), F_OK) != 0 && errno == ENOENT; }},
        Deed{"which namespace is named", bit(CAP_SYS_PTRACE), yes,
             [] {
                 struct stat about{};
                 const std::string other = "/proc/" + std::to_string(::getppid()) + "/ns/ipc";
                 return ::stat(other.c_str(), &about) == 0;
             }},
        Deed{"a socket for the jail's user", bit(CAP_CHOWN), yes,
             [&] { return ::chown(file.c_str(), kOther, kOther) == 0; }},
        Deed{"the end of the machine", bit(CAP_KILL), yes, [&] { return ::kill(machine, 0) == 0; }},
        Deed{"a tap", bit(CAP_NET_ADMIN),
             [&] {
                 return ::unshare(CLONE_NEWNET) == 0 &&
                        (network = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) != -1;
             },
             [&] {
                 ifreq request{};
                 std::memcpy(request.ifr_name, "lo", 3);
                 request.ifr_flags = IFF_UP;
                 return ::ioctl(network, SIOCSIFFLAGS, &request) == 0;
             }},
        Deed{"ids mapped", bit(CAP_SETUID) | bit(CAP_SETGID) | bit(CAP_SETFCAP), yes,
             [] {
                 const std::array ids{IdMapping{.container_id = 1, .host_id = 1000, .size = 9},
                                      IdMapping{.container_id = 0, .host_id = 0, .size = 1}};
                 return make_user_namespace(ids, ids).has_value();
             }},
        Deed{"the shared files' mounts", bit(CAP_SYS_ADMIN) | bit(CAP_SYS_CHROOT), yes,
             [] {
                 const Fd mounts(::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC));
                 return ::setns(mounts.ref().number(), CLONE_NEWNS) == 0;
             }},
    };
    const std::uint64_t all = kept_capabilities(Isolation::Tcg);
    std::uint64_t needed = 0;
    for (const Deed& deed : deeds) {
        const auto outcome = [&deed](std::uint64_t kept) {
            return fate([&] {
                if (!deed.prepare() || !keep_capabilities(kept)) {
                    return 2;
                }
                return deed.work() ? 0 : 1;
            });
        };
        EXPECT_EQ(outcome(deed.needs), 0) << deed.name;
        for (unsigned capability = 0; capability < 64; ++capability) {
            if ((deed.needs & bit(capability)) != 0) {
                EXPECT_EQ(outcome(all & ~bit(capability)), 1)
                    << deed.name << " without capability " << capability;
            }
        }
        needed |= deed.needs;
    }
    EXPECT_EQ(needed, all);
    (void)::kill(machine, SIGKILL);
    EXPECT_EQ(::waitpid(machine, nullptr, 0), machine);
}

}  // namespace
}  // namespace pepita::shim
