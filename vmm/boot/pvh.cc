#include "vmm/boot/pvh.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/hex.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pvh.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/layout.h"

namespace pepita::vmm {
namespace {

namespace pvh = abi::pvh;

std::uint64_t low_ram_size(const virtio::GuestMemory& memory) {
    CHECK(!memory.regions().empty());
    CHECK(memory.regions()[0].start == virtio::GuestAddress{0});
    return memory.regions()[0].bytes.size();
}

/// Gives the end of the highest segment.
Result<std::uint64_t> load_segments(const virtio::GuestMemory& memory, FdRef file,
                                    std::span<const ElfSegment> segments) {
    std::uint64_t end = 0;
    for (const ElfSegment& segment : segments) {
        if (segment.physical < layout::kHighMemoryStart) {
            return Error(Code::InvalidArgument,
                         "kernel wants to be loaded at " + hex(segment.physical) + ", below 1 MiB");
        }
        const auto into =
            memory.span_at(virtio::GuestAddress{segment.physical}, Bytes(segment.memory_size));
        if (!into || segment.physical >= low_ram_size(memory)) {
            return Error(Code::OutOfRange, "kernel does not fit into guest memory: a segment of " +
                                               std::to_string(segment.memory_size) + " B at " +
                                               hex(segment.physical));
        }
        TRY(read_exactly(file, into->first(segment.file_size), segment.offset), "kernel");
        // RAM is fresh and zero, and stays untouched but where an earlier segment may have been.
        const std::uint64_t segment_end = segment.physical + segment.memory_size;
        const std::uint64_t zeros_from = segment.physical + segment.file_size;
        if (const std::uint64_t zeros_to = std::min(end, segment_end); zeros_to > zeros_from) {
            std::ranges::fill(into->subspan(segment.file_size, zeros_to - zeros_from),
                              std::byte{0});
        }
        end = std::max(end, segment_end);
    }
    return end;
}

/// As high as it goes: the kernel grows from below and frees these pages later.
Result<pvh::Module> load_initrd(const virtio::GuestMemory& memory, FdRef file,
                                std::uint64_t kernel_end) {
    const std::uint64_t size = TRY(file_size(file)).value();
    const std::uint64_t ram = low_ram_size(memory);
    if (size == 0) {
        return Error(Code::InvalidArgument, "initrd is empty");
    }
    const std::uint64_t start = size <= ram ? (ram - size) & ~(kPageSize.value() - 1) : 0;
    if (start < kernel_end) {
        return Error(Code::OutOfRange, "initrd of " + std::to_string(size) +
                                           " B does not fit into guest memory beside the kernel");
    }
    TRY(read_exactly(file, TRY(memory.span_at(virtio::GuestAddress{start}, Bytes(size))), 0),
        "initrd");
    return pvh::Module{.address = start, .size = size, .command_line = 0, .reserved = 0};
}

Result<void> write_command_line(const virtio::GuestMemory& memory, std::string_view text) {
    if (text.size() > layout::kCommandLineMax) {
        return Error(Code::OutOfRange, "kernel command line of " + std::to_string(text.size()) +
                                           " B; Linux takes " +
                                           std::to_string(layout::kCommandLineMax));
    }
    if (text.contains('\0')) {
        return Error(Code::InvalidArgument, "kernel command line with a NUL in it");
    }
    const auto into = TRY(memory.span_at(layout::kCommandLine, Bytes(text.size() + 1)));
    std::ranges::copy(std::as_bytes(std::span(text)), into.begin());
    into.back() = std::byte{0};
    return {};
}

std::vector<pvh::MemoryMapEntry> memory_map(const virtio::GuestMemory& memory) {
    const auto entry = [](std::uint64_t start, std::uint64_t end, pvh::MemoryType type) {
        return pvh::MemoryMapEntry{
            .address = start, .size = end - start, .type = type, .reserved = 0};
    };
    std::vector<pvh::MemoryMapEntry> map = {
        entry(0, layout::kLowMemoryEnd, pvh::MemoryType::Ram),
        entry(layout::kLowMemoryEnd, layout::kHighMemoryStart, pvh::MemoryType::Reserved),
        entry(layout::kHighMemoryStart, low_ram_size(memory), pvh::MemoryType::Ram),
        // Linux uses an ECAM only where firmware has put it out of bounds.
        entry(layout::kEcamStart, layout::kEcamStart + layout::kEcamSize,
              pvh::MemoryType::Reserved)};
    for (const virtio::MemoryRegion& region : memory.regions().subspan(1)) {
        const std::uint64_t start = std::to_underlying(region.start);
        map.push_back(entry(start, start + region.bytes.size(), pvh::MemoryType::Ram));
    }
    return map;
}

/// Start info, then at most one module, then the memory map.
Result<void> write_start_info(const virtio::GuestMemory& memory,
                              const std::optional<pvh::Module>& initrd) {
    const std::uint64_t start = std::to_underlying(layout::kStartInfo);
    const std::uint64_t modules = start + sizeof(pvh::StartInfo);
    const std::uint64_t map_at = modules + sizeof(pvh::Module);
    const std::vector<pvh::MemoryMapEntry> map = memory_map(memory);
    const pvh::StartInfo info{
        .magic = pvh::kStartMagic,
        .version = 1,
        .flags = 0,
        .module_count = initrd ? 1U : 0U,
        .modules = initrd ? modules : 0,
        .command_line = std::to_underlying(layout::kCommandLine),
        .rsdp = std::to_underlying(layout::kAcpiTables),
        .memory_map = map_at,
        .memory_map_entries = static_cast<std::uint32_t>(map.size()),
        .reserved = 0,
    };
    TRY(memory.write(layout::kStartInfo, info));
    if (initrd) {
        TRY(memory.write(virtio::GuestAddress{modules}, *initrd));
    }
    const auto bytes = std::as_bytes(std::span(map));
    std::ranges::copy(
        bytes, TRY(memory.span_at(virtio::GuestAddress{map_at}, Bytes(bytes.size()))).begin());
    return {};
}

/// A kernel that knows of no better way resets by jumping to the BIOS in real mode; with reduced
/// ACPI hardware Linux takes it for granted that there is UEFI, finds none, and does just that.
Result<void> write_reset_stub(const virtio::GuestMemory& memory) {
    constexpr std::uint8_t port_low = layout::kResetPort & 0xffU;
    constexpr std::uint8_t port_high = layout::kResetPort >> 8U;
    // mov al, value; mov dx, port; out dx, al; hlt, for ever
    constexpr std::array<std::uint8_t, 9> stub = {
        0xb0, layout::kResetValue, 0xba, port_low, port_high, 0xee, 0xf4, 0xeb, 0xfd};
    return memory.write(layout::kResetVector, stub);
}

}  // namespace

Result<BootEntry> load_pvh(const virtio::GuestMemory& memory, const BootSource& source) {
    const ElfKernel kernel = TRY(read_elf_kernel(source.kernel));
    const std::uint64_t kernel_end = TRY(load_segments(memory, source.kernel, kernel.segments));
    std::optional<pvh::Module> initrd;
    if (source.initrd) {
        initrd = TRY(load_initrd(memory, *source.initrd, kernel_end));
    }
    TRY(write_command_line(memory, source.command_line));
    TRY(write_start_info(memory, initrd));
    TRY(write_reset_stub(memory));
    return BootEntry{.entry = virtio::GuestAddress{kernel.pvh_entry},
                     .start_info = layout::kStartInfo};
}

}  // namespace pepita::vmm
