// How much processor time it takes to find a guest's kernel and to copy it into the guest's memory:
// kernel_load VMLINUZ CACHE-DIRECTORY. Prints the medians of seven rounds, in microseconds.

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/pvh.h"
#include "vmm/host/kernel_cache.h"

namespace {

using pepita::Fd;
using pepita::Mapping;
using pepita::Result;

constexpr int kRounds = 7;
constexpr auto kMemory = pepita::Bytes(std::uint64_t{512} << 20U);

std::uint64_t processor_us() {
    rusage used{};
    (void)::getrusage(RUSAGE_SELF, &used);
    return static_cast<std::uint64_t>((used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1'000'000 +
                                      used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

struct Round {
    std::uint64_t find_us = 0;
    std::uint64_t copy_us = 0;
};

Result<Round> measure(const char* vmlinuz, const char* cache) {
    Round round;
    std::uint64_t began = processor_us();
    const Fd kernel = TRY(pepita::vmm::open_vmlinux(vmlinuz, cache));
    round.find_us = processor_us() - began;
    Mapping ram = TRY(Mapping::anonymous(kMemory));
    const auto memory =
        TRY(pepita::virtio::GuestMemory::create({{.start = {}, .bytes = ram.bytes()}}));
    began = processor_us();
    (void)TRY(pepita::vmm::load_pvh(
        memory, {.kernel = kernel.ref(), .initrd = {}, .command_line = "quiet"}));
    round.copy_us = processor_us() - began;
    return round;
}

Result<void> measure_all(const char* vmlinuz, const char* cache) {
    (void)TRY(measure(vmlinuz, cache));  // puts the kernel into the caches, ours and the kernel's
    std::array<std::uint64_t, kRounds> find{};
    std::array<std::uint64_t, kRounds> copy{};
    for (int i = 0; i < kRounds; ++i) {
        const Round round = TRY(measure(vmlinuz, cache));
        find.at(static_cast<std::size_t>(i)) = round.find_us;
        copy.at(static_cast<std::size_t>(i)) = round.copy_us;
    }
    std::ranges::sort(find);
    std::ranges::sort(copy);
    (void)std::printf("%lu %lu\n", find[kRounds / 2], copy[kRounds / 2]);
    return {};
}

}  // namespace

int main(int argc, char** argv) {
    const std::span<char*> arguments(argv, static_cast<std::size_t>(argc));
    if (arguments.size() != 3) {
        (void)std::fputs("usage: kernel_load VMLINUZ CACHE-DIRECTORY\n", stderr);
        return 2;
    }
    if (const Result<void> done = measure_all(arguments[1], arguments[2]); !done) {
        (void)std::fprintf(stderr, "kernel_load: %s\n", done.error().message().c_str());
        return 1;
    }
    return 0;
}
