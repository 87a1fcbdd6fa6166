#include "vmm/boot/elf.h"

#include <elf.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/uapi/pvh.h"

namespace pepita::vmm {
namespace {

Error malformed(std::string what) { return {Code::InvalidArgument, std::move(what)}; }

constexpr std::uint64_t align4(std::uint64_t value) { return (value + 3) & ~std::uint64_t{3}; }

Result<Elf64_Ehdr> read_header(FdRef file) {
    Elf64_Ehdr header{};
    if (TRY(file_size(file)).value() < sizeof(header)) {
        return malformed("not a kernel: shorter than an ELF header");
    }
    TRY(read_exactly(file, std::as_writable_bytes(std::span(&header, 1)), 0));
    if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) {
        return malformed("not a kernel: no ELF magic");
    }
    if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB ||
        header.e_machine != EM_X86_64) {
        return malformed("not a kernel for x86-64");
    }
    if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0 ||
        header.e_phnum > kProgramHeadersMax) {
        return malformed("kernel with " + std::to_string(header.e_phnum) + " program headers of " +
                         std::to_string(header.e_phentsize) + " B");
    }
    return header;
}

Result<std::vector<Elf64_Phdr>> read_program_headers(FdRef file, const Elf64_Ehdr& header) {
    std::vector<Elf64_Phdr> headers(header.e_phnum);
    const auto bytes = std::as_writable_bytes(std::span(headers));
    const std::uint64_t size = TRY(file_size(file)).value();
    if (header.e_phoff > size || bytes.size() > size - header.e_phoff) {
        return malformed("kernel is truncated: its program headers lie beyond its end");
    }
    TRY(read_exactly(file, bytes, header.e_phoff));
    for (const Elf64_Phdr& entry : headers) {
        if (entry.p_type != PT_LOAD && entry.p_type != PT_NOTE) {
            continue;
        }
        if (entry.p_offset > size || entry.p_filesz > size - entry.p_offset) {
            return malformed("kernel is truncated: a segment lies beyond its end");
        }
        if (entry.p_type == PT_LOAD &&
            (entry.p_filesz > entry.p_memsz ||
             entry.p_memsz > std::numeric_limits<std::uint64_t>::max() - entry.p_paddr)) {
            return malformed("kernel has a segment that is smaller than its file or wraps");
        }
    }
    return headers;
}

/// The entry in one PT_NOTE, if it is there. `notes` is walked with 4-byte alignment, as Linux
/// writes it whatever p_align says.
std::optional<std::uint32_t> find_entry(std::span<const std::byte> notes) {
    constexpr std::string_view owner("Xen\0", 4);
    while (notes.size() >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note{};
        std::memcpy(&note, notes.data(), sizeof(note));
        // 32-bit sizes in 64-bit sums: nothing wraps.
        const std::uint64_t name_size = align4(note.n_namesz);
        const std::uint64_t size = sizeof(note) + name_size + align4(note.n_descsz);
        if (sizeof(note) + name_size + note.n_descsz > notes.size()) {
            return std::nullopt;
        }
        const auto name = notes.subspan(sizeof(note), note.n_namesz);
        const auto value = notes.subspan(sizeof(note) + name_size, note.n_descsz);
        if (note.n_type == abi::pvh::kNotePhys32Entry && name.size() == owner.size() &&
            std::memcmp(name.data(), owner.data(), owner.size()) == 0 &&
            (value.size() == 4 || value.size() == 8)) {
            std::uint64_t entry = 0;
            std::memcpy(&entry, value.data(), value.size());
            if (entry <= std::numeric_limits<std::uint32_t>::max()) {
                return static_cast<std::uint32_t>(entry);
            }
        }
        notes = notes.subspan(std::min<std::uint64_t>(size, notes.size()));
    }
    return std::nullopt;
}

Result<std::uint32_t> read_entry(FdRef file, std::span<const Elf64_Phdr> headers) {
    for (const Elf64_Phdr& header : headers) {
        if (header.p_type != PT_NOTE) {
            continue;
        }
        if (header.p_filesz > kNotesSizeMax) {
            return malformed("kernel with " + std::to_string(header.p_filesz) + " B of notes");
        }
        std::vector<std::byte> notes(header.p_filesz);
        TRY(read_exactly(file, notes, header.p_offset));
        if (const auto entry = find_entry(notes)) {
            return *entry;
        }
    }
    return malformed("kernel has no PVH entry (is CONFIG_PVH off?)");
}

}  // namespace

Result<ElfKernel> read_elf_kernel(FdRef file) {
    const Elf64_Ehdr header = TRY(read_header(file));
    const std::vector<Elf64_Phdr> headers = TRY(read_program_headers(file, header));
    ElfKernel kernel{.segments = {}, .pvh_entry = TRY(read_entry(file, headers))};
    for (const Elf64_Phdr& entry : headers) {
        if (entry.p_type == PT_LOAD && entry.p_memsz > 0) {
            kernel.segments.push_back({.offset = entry.p_offset,
                                       .physical = entry.p_paddr,
                                       .file_size = entry.p_filesz,
                                       .memory_size = entry.p_memsz});
        }
    }
    if (kernel.segments.empty()) {
        return malformed("kernel has nothing to load");
    }
    return kernel;
}

}  // namespace pepita::vmm
