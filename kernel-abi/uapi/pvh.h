#pragma once

#include <cstdint>

/// The PVH boot protocol: what a 32-bit entry point finds at EBX.
/// Source: Xen docs/misc/pvh.pandoc, include/public/arch-x86/hvm/start_info.h.
namespace pepita::abi::pvh {

inline constexpr std::uint32_t kStartMagic = 0x336e'c578;

struct StartInfo {
    std::uint32_t magic;
    std::uint32_t version;  // 1: the memory map is there
    std::uint32_t flags;
    std::uint32_t module_count;
    std::uint64_t modules;
    std::uint64_t command_line;
    std::uint64_t rsdp;
    std::uint64_t memory_map;
    std::uint32_t memory_map_entries;
    std::uint32_t reserved;
};

struct Module {
    std::uint64_t address;
    std::uint64_t size;
    std::uint64_t command_line;
    std::uint64_t reserved;
};

enum class MemoryType : std::uint32_t { Ram = 1, Reserved = 2 };

struct MemoryMapEntry {
    std::uint64_t address;
    std::uint64_t size;
    MemoryType type;
    std::uint32_t reserved;
};

/// The ELF note with the entry point: name "Xen", 4 or 8 bytes, little-endian.
inline constexpr std::uint32_t kNotePhys32Entry = 18;

}  // namespace pepita::abi::pvh
