#pragma once

#include <cstdint>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::vmm {

/// A stretch of the file and where in physical memory it belongs. Bytes from `file_size` to
/// `memory_size` are zero. Bounded: it lies in the file, and does not wrap.
struct ElfSegment {
    std::uint64_t offset = 0;
    std::uint64_t physical = 0;
    std::uint64_t file_size = 0;
    std::uint64_t memory_size = 0;
};

struct ElfKernel {
    std::vector<ElfSegment> segments;
    std::uint32_t pvh_entry = 0;
};

/// At most this many program headers are looked at; Linux has five.
inline constexpr std::uint16_t kProgramHeadersMax = 64;
/// PT_NOTE beyond this is refused; Linux has less than 1 KiB.
inline constexpr std::uint64_t kNotesSizeMax = 65'536;

/// What a loader needs of an x86-64 ELF kernel. Errors: InvalidArgument saying what it is not.
Result<ElfKernel> read_elf_kernel(FdRef file);

}  // namespace pepita::vmm
