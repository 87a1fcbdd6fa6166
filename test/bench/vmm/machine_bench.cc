// What the machine itself costs beside anchors of the same run: exits to user space, creation, a
// process from its start to its guest's end, resident memory. README.md says how to read it.
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/process.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "test/bench/vmm/bare_machine.h"
#include "test/support/tiny_guest.h"
#include "vmm/boot/layout.h"
#include "vmm/machine.h"

namespace pepita::bench {
namespace {

namespace tiny = vmm::tiny;
namespace layout = vmm::layout;
using Clock = std::chrono::steady_clock;

constexpr Bytes kMemory = 128_MiB;
constexpr int kRounds = 7;

/// A program that runs a guest: given /dev/kvm as 3, the kernel as 4, a console as 5.
struct Runner {
    std::string name;
    std::vector<std::string> command;
    int good = 0;  // its exit status where the guest powers off
};

struct Programs {
    Runner ours;
    Runner bare;
    Runner qemu;
};

double microseconds_since(Clock::time_point begin) {
    return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double median(std::vector<double> values) {
    std::ranges::sort(values);
    return values[values.size() / 2];
}

/// One line: what, ours, the anchor, and how many times the anchor ours is.
void print(std::string_view what, double ours, std::string_view anchor, double theirs,
           std::string_view unit, double goal) {
    const double ratio = ours / theirs;
    std::printf("%-34.*s ours %9.2f  %-12.*s %9.2f %.*s  ratio %6.3f  goal %5.2f %s\n",
                static_cast<int>(what.size()), what.data(), ours, static_cast<int>(anchor.size()),
                anchor.data(), theirs, static_cast<int>(unit.size()), unit.data(), ratio, goal,
                ratio <= goal ? "reached" : "missed");
}

Child start(const Runner& runner, FdRef kvm, FdRef kernel) {
    static const Fd null = *open_file("/dev/null", O_RDWR);
    SpawnOptions options;
    options.path = runner.command.front();
    options.arguments = runner.command;
    options.environment = {"PATH=/usr/bin:/bin"};
    options.fds = {
        {.fd = kvm, .number = 3}, {.fd = kernel, .number = 4}, {.fd = null.ref(), .number = 5}};
    auto child = spawn(std::move(options));
    if (!child) {
        (void)std::fprintf(stderr, "%s\n", child.error().message().c_str());
        std::exit(EXIT_FAILURE);
    }
    return std::move(*child);
}

/// From spawning the program to its end. A guest that does not end well ends the bench.
double time_of(const Runner& runner, FdRef kvm, FdRef kernel) {
    const Clock::time_point begin = Clock::now();
    Child child = start(runner, kvm, kernel);
    const ChildExit exit = child.reap();
    const double taken = microseconds_since(begin);
    if (exit != ChildExit{.by_signal = false, .value = runner.good}) {
        (void)std::fprintf(stderr, "%s: %s\n", runner.name.c_str(), to_string(exit).c_str());
        std::exit(EXIT_FAILURE);
    }
    return taken;
}

tiny::Code number(std::uint32_t value) {
    return {{static_cast<std::uint8_t>(value), static_cast<std::uint8_t>(value >> 8U),
             static_cast<std::uint8_t>(value >> 16U), static_cast<std::uint8_t>(value >> 24U)}};
}

/// `once` many times between few other instructions: here they may be interpreted.
tiny::Code counted(const tiny::Code& before, const tiny::Code& once, std::uint32_t loops) {
    constexpr int kUnrolled = 64;
    tiny::Code body;
    for (int i = 0; i < kUnrolled; ++i) {
        body = std::move(body) + once;
    }
    const auto back = static_cast<std::uint32_t>(-static_cast<std::int64_t>(body.bytes.size() + 7));
    return before + tiny::Code{{0xb9}} + number(loops) + body +  // mov ecx, loops
           tiny::Code{{0x49, 0x0f, 0x85}} + number(back) +       // dec ecx; jnz body
           tiny::power_off() + tiny::halt();
}

/// mov edx, port; mov eax, value
tiny::Code aim(std::uint16_t port, std::uint8_t value) {
    return tiny::Code{{0xba}} + number(port) + tiny::Code{{0xb8}} + number(value);
}

/// Microseconds of one exit, of `once` repeated: the difference between many and few.
struct Exits {
    Exits(FdRef kvm_fd, const tiny::Code& before, const tiny::Code& once)
        : kvm(kvm_fd),
          few(tiny::kernel(counted(before, once, 16))),
          many(tiny::kernel(counted(before, once, 272))) {}
    double measure(const Runner& runner) const {
        constexpr double kExits = 256 * 64;
        return (time_of(runner, kvm, many.ref()) - time_of(runner, kvm, few.ref())) / kExits;
    }
    FdRef kvm;
    Fd few;
    Fd many;
};

void bench_exits(const Programs& programs, FdRef kvm) {
    struct Case {
        std::string name;
        tiny::Code before;
        tiny::Code once;
        double goal;
    };
    const tiny::Code in{{0xec}};           // in al, dx
    const tiny::Code out{{0xee}};          // out dx, al
    const tiny::Code load{{0x8b, 0x02}};   // mov eax, [edx]
    const tiny::Code store{{0x89, 0x02}};  // mov [edx], eax
    const tiny::Code function =
        tiny::Code{{0xba}} + number(layout::kEcamStart + (1U << 15U));  // mov edx, function
    const std::vector<Case> cases{
        {"port read", aim(layout::kKeyboardPort, 0), in, 1.3},
        {"port write", aim(layout::kSerialPort + 7, 1), out, 1.3},
        {"console byte", aim(layout::kSerialPort, '.'), out, 1.3},
        {"PCI configuration read", function, load, 1.3},
        {"PCI configuration write (loop)", function, store, 6},
    };
    for (const Case& each : cases) {
        const Exits exits(kvm, each.before, each.once);
        std::vector<double> ours;
        std::vector<double> bare;
        std::vector<double> qemu;
        for (int round = 0; round < kRounds; ++round) {
            ours.push_back(exits.measure(programs.ours));
            bare.push_back(exits.measure(programs.bare));
            qemu.push_back(exits.measure(programs.qemu));
        }
        print("exit: " + each.name, median(ours), "bare", median(bare), "us", each.goal);
        print("exit: " + each.name, median(ours), "QEMU", median(qemu), "us", each.goal);
    }
}

void bench_start(const Programs& programs, FdRef kvm) {
    constexpr int kMany = 31;
    const Fd kernel = tiny::kernel(tiny::power_off() + tiny::halt());
    std::vector<double> ours;
    std::vector<double> bare;
    std::vector<double> qemu;
    for (int round = 0; round < kMany; ++round) {
        ours.push_back(time_of(programs.ours, kvm, kernel.ref()) / 1000);
        bare.push_back(time_of(programs.bare, kvm, kernel.ref()) / 1000);
        qemu.push_back(time_of(programs.qemu, kvm, kernel.ref()) / 1000);
    }
    print("spawn, tiny guest, exit", median(ours), "bare", median(bare), "ms", 1.5);
    print("spawn, tiny guest, exit", median(ours), "QEMU", median(qemu), "ms", 1.0 / 12);
}

void bench_creation(FdRef kvm) {
    constexpr int kMany = 31;
    const auto loop = *EventLoop::create();
    const auto create_ours = [&] {
        const Clock::time_point begin = Clock::now();
        auto machine = vmm::Machine::create(*loop, {.kvm = kvm, .memory = kMemory, .vcpus = 1});
        const double taken = microseconds_since(begin);
        CHECK(machine.has_value());
        return taken;
    };
    const auto create_bare = [&](CreationOrder order) {
        const Clock::time_point begin = Clock::now();
        auto machine = BareMachine::create(kvm, kMemory, order);
        const double taken = microseconds_since(begin);
        CHECK(machine.has_value());
        return taken;
    };
    std::vector<double> ours;
    std::vector<double> bare;
    std::vector<double> firecracker;
    for (int round = 0; round < kMany; ++round) {
        ours.push_back(create_ours());
        bare.push_back(create_bare(CreationOrder::Ours));
        firecracker.push_back(create_bare(CreationOrder::Firecracker));
    }
    print("machine creation", median(ours), "bare", median(bare), "us", 1.3);
    print("machine creation", median(ours), "Firecracker", median(firecracker), "us", 0.1);
}

struct Resident {
    double all_kib = 0;
    double anonymous_kib = 0;  // and dirty: what no other process shares
};

/// Of all mappings of a process but the guest's RAM, which is the only one so large.
Resident resident_beyond_ram(pid_t pid) {
    const std::string text = *read_file("/proc/" + std::to_string(pid) + "/smaps");
    Resident sum;
    double size_kib = 0;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        const std::string line = text.substr(at, end - at);
        at = end + 1;
        double value = 0;
        if (std::sscanf(line.c_str(), "Size: %lf kB", &value) == 1) {
            size_kib = value;
        } else if (size_kib * 1024 >= static_cast<double>(kMemory.value())) {
            continue;
        } else if (std::sscanf(line.c_str(), "Rss: %lf kB", &value) == 1) {
            sum.all_kib += value;
        } else if (std::sscanf(line.c_str(), "Private_Dirty: %lf kB", &value) == 1) {
            sum.anonymous_kib += value;
        }
    }
    return sum;
}

/// The guest says that it runs by a byte on the console, which is a pipe.
Resident residence_of(const Runner& runner, FdRef kvm) {
    const Fd kernel = tiny::kernel(tiny::Code{{0xeb, 0xfe}});  // for ever
    std::vector<double> all;
    Child child = start(runner, kvm, kernel.ref());
    // Resident memory grows until the machine runs, and then no more.
    Resident before;
    for (int same = 0; same < 20;) {
        const auto loop = *EventLoop::create();
        CHECK(loop->run_once(std::chrono::milliseconds(10)).has_value());
        const Resident now = resident_beyond_ram(child.pid());
        same = now.all_kib == before.all_kib ? same + 1 : 0;
        before = now;
    }
    child.send_signal(SIGKILL);
    (void)child.reap();
    return before;
}

void bench_residence(const Programs& programs, FdRef kvm) {
    const Resident ours = residence_of(programs.ours, kvm);
    const Resident qemu = residence_of(programs.qemu, kvm);
    print("resident beyond guest RAM", ours.all_kib, "goal", 2048, "KiB", 1.0);
    print("  of it private and dirty", ours.anonymous_kib, "QEMU", qemu.anonymous_kib, "KiB",
          1.0 / 15);
    print("resident beyond guest RAM", ours.all_kib, "QEMU", qemu.all_kib, "KiB", 1.0 / 15);
}

Programs programs_of(const std::string& vmm, const std::string& bare) {
    std::vector<std::string> ours{
        vmm, "--machine",
        "kvm=3,kernel=4,console=5,vcpus=1,memory-mib=" + std::to_string(kMemory.value() >> 20U),
        "--device", "entropy,id=rng"};
    return {.ours = {.name = "pepita-vmm", .command = std::move(ours)},
            .bare = {.name = "bare", .command = {bare}},
            .qemu = {.name = "QEMU microvm",
                     .command = {"/usr/bin/qemu-system-x86_64", "-M",
                                 "microvm,accel=kvm,x-option-roms=off,pit=off,pic=off,rtc=off,"
                                 "isa-serial=off",
                                 "-nodefaults", "-no-user-config", "-display", "none", "-m", "128",
                                 "-no-reboot", "-kernel", "/proc/self/fd/4", "-device",
                                 "isa-debug-exit,iobase=0x600,iosize=1"},
                     // isa-debug-exit: (value << 1) | 1
                     .good = 0x69}};
}

int bench_main(std::span<const std::string> arguments) {
    if (arguments.size() < 2) {
        (void)std::fprintf(
            stderr, "usage: machine_bench PEPITA_VMM BARE_VMM [exits|creation|start|residence]\n");
        return 2;
    }
    const auto kvm = open_file("/dev/kvm", O_RDWR);
    if (!kvm) {
        (void)std::fprintf(stderr, "machine_bench: %s\n", kvm.error().message().c_str());
        return EXIT_FAILURE;
    }
    const Programs programs = programs_of(arguments[0], arguments[1]);
    const auto is_wanted = [&](std::string_view part) {
        return arguments.size() == 2 ||
               std::ranges::find(arguments.subspan(2), part) != arguments.end();
    };
    if (is_wanted("creation")) {
        bench_creation(kvm->ref());
    }
    if (is_wanted("exits")) {
        bench_exits(programs, kvm->ref());
    }
    if (is_wanted("start")) {
        bench_start(programs, kvm->ref());
    }
    if (is_wanted("residence")) {
        bench_residence(programs, kvm->ref());
    }
    return EXIT_SUCCESS;
}

}  // namespace
}  // namespace pepita::bench

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return pepita::bench::bench_main(arguments);
}
