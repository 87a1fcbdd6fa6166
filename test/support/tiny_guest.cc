#include "test/support/tiny_guest.h"

#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/uapi/pvh.h"
#include "vmm/boot/layout.h"

namespace pepita::vmm::tiny {
namespace {

void append32(Code& code, std::uint32_t value) {
    for (unsigned i = 0; i < 4; ++i) {
        code.bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
}

struct Note {
    Elf64_Nhdr header{.n_namesz = 4, .n_descsz = 4, .n_type = abi::pvh::kNotePhys32Entry};
    std::array<char, 4> name{'X', 'e', 'n', '\0'};
    std::uint32_t entry = kLoadAddress;
};

struct Headers {
    Elf64_Ehdr elf;
    std::array<Elf64_Phdr, 2> program;
    Note note;
};

}  // namespace

Code write_port(std::uint16_t port, std::uint8_t value) {
    const auto low = static_cast<std::uint8_t>(port & 0xffU);
    const auto high = static_cast<std::uint8_t>(port >> 8U);
    return {{0xb0, value, 0x66, 0xba, low, high, 0xee}};  // mov al, value; mov dx, port; out dx, al
}

Code power_off() {
    constexpr std::uint8_t kSleepEnable = 1U << 5U;
    return write_port(layout::kSleepControlPort, (layout::kSleepTypeOff << 2U) | kSleepEnable);
}

Code reset() { return write_port(layout::kResetPort, layout::kResetValue); }
Code keyboard_reset() { return write_port(layout::kKeyboardPort, 0xfe); }
Code panic() { return write_port(layout::kPanicPort, 1); }
Code halt() { return {{0xf4, 0xeb, 0xfd}}; }
Code triple_fault() { return {{0x0f, 0x0b}}; }  // ud2

Code if_equal(std::uint32_t address, std::uint32_t value, const Code& then) {
    Code code{{0xa1}};  // mov eax, [address]
    append32(code, address);
    code.bytes.push_back(0x3d);  // cmp eax, value
    append32(code, value);
    CHECK(then.bytes.size() < 128);
    return code + Code{{0x75, static_cast<std::uint8_t>(then.bytes.size())}} + then;  // jne
}

Code repeat(const Code& body) {
    CHECK(body.bytes.size() <= 126);
    const auto back = static_cast<std::uint8_t>(0x100 - (body.bytes.size() + 2));
    return body + Code{{0xeb, back}};  // jmp
}

Code store(std::uint32_t address, std::uint32_t value) {
    Code code{{0xc7, 0x05}};  // mov dword [address], value
    append32(code, address);
    append32(code, value);
    return code;
}

std::vector<std::byte> kernel_bytes(const Code& code) {
    Headers headers{};
    std::memcpy(headers.elf.e_ident, ELFMAG, SELFMAG);
    headers.elf.e_ident[EI_CLASS] = ELFCLASS64;
    headers.elf.e_ident[EI_DATA] = ELFDATA2LSB;
    headers.elf.e_machine = EM_X86_64;
    headers.elf.e_phoff = offsetof(Headers, program);
    headers.elf.e_phentsize = sizeof(Elf64_Phdr);
    headers.elf.e_phnum = headers.program.size();
    headers.program[0] = {.p_type = PT_LOAD,
                          .p_flags = PF_R | PF_X,
                          .p_offset = sizeof(Headers),
                          .p_vaddr = kLoadAddress,
                          .p_paddr = kLoadAddress,
                          .p_filesz = code.bytes.size(),
                          .p_memsz = code.bytes.size() + 4096,
                          .p_align = 1};
    headers.program[1] = {.p_type = PT_NOTE,
                          .p_flags = PF_R,
                          .p_offset = offsetof(Headers, note),
                          .p_vaddr = 0,
                          .p_paddr = 0,
                          .p_filesz = sizeof(Note),
                          .p_memsz = sizeof(Note),
                          .p_align = 4};
    headers.note = Note{};
    std::vector<std::byte> bytes(sizeof(headers) + code.bytes.size());
    std::memcpy(bytes.data(), &headers, sizeof(headers));
    std::memcpy(bytes.data() + sizeof(headers), code.bytes.data(), code.bytes.size());
    return bytes;
}

Fd file_of(std::span<const std::byte> bytes) {
    Fd file(::memfd_create("test", MFD_CLOEXEC));
    CHECK(static_cast<bool>(file));
    CHECK(::pwrite(file.ref().number(), bytes.data(), bytes.size(), 0) ==
          static_cast<ssize_t>(bytes.size()));
    return file;
}

Fd kernel(const Code& code) { return file_of(kernel_bytes(code)); }

}  // namespace pepita::vmm::tiny
