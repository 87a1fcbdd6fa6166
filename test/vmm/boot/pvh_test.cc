#include "vmm/boot/pvh.h"

#include <elf.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/uapi/pvh.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "test/support/tiny_guest.h"
#include "vmm/boot/elf.h"
#include "vmm/boot/layout.h"

namespace pepita::vmm {
namespace {

using Image = std::vector<std::byte>;

class PvhTest : public testing::Test {
protected:
    PvhTest()
        : low_(*Mapping::anonymous(4_MiB)),
          high_(*Mapping::anonymous(1_MiB)),
          memory_(*virtio::GuestMemory::create(
              {{.start = virtio::GuestAddress{0}, .bytes = low_.bytes()},
               {.start = virtio::GuestAddress{layout::kHighRamStart}, .bytes = high_.bytes()}})),
          image_(tiny::kernel_bytes(tiny::power_off())) {}

    Result<BootEntry> load(std::optional<FdRef> initrd = std::nullopt,
                           std::string_view command_line = "quiet") {
        const Fd kernel = tiny::file_of(image_);
        return load_pvh(memory_,
                        {.kernel = kernel.ref(), .initrd = initrd, .command_line = command_line});
    }
    std::string refusal() {
        const auto entry = load();
        return entry ? "loaded" : entry.error().message();
    }
    template <typename T>
    T at(std::uint64_t address) const {
        return memory_.read<T>(virtio::GuestAddress{address}).value();
    }
    Elf64_Ehdr header() const {
        Elf64_Ehdr header{};
        std::memcpy(&header, image_.data(), sizeof(header));
        return header;
    }
    void set_header(const Elf64_Ehdr& header) {
        std::memcpy(image_.data(), &header, sizeof(header));
    }
    /// Changes the program header `index` (0 is what is loaded, 1 the note).
    template <typename Change>
    void change(std::size_t index, Change change) {
        Elf64_Phdr entry{};
        std::byte* place = image_.data() + sizeof(Elf64_Ehdr) + (index * sizeof(entry));
        std::memcpy(&entry, place, sizeof(entry));
        change(entry);
        std::memcpy(place, &entry, sizeof(entry));
    }

    Mapping low_;
    Mapping high_;
    virtio::GuestMemory memory_;
    Image image_;
};

TEST_F(PvhTest, LoadsTheKernelWhereItsSegmentsSay) {
    const auto entry = load();
    ASSERT_TRUE(entry.has_value()) << entry.error().message();
    EXPECT_EQ(entry->entry, virtio::GuestAddress{tiny::kLoadAddress});
    EXPECT_EQ(at<std::uint8_t>(tiny::kLoadAddress), tiny::power_off().bytes[0]);
}

// Fresh RAM is zero, and touching it would cost its pages.
TEST_F(PvhTest, LeavesWhatASegmentHasBeyondItsFileUntouched) {
    std::ranges::fill(low_.bytes().subspan(tiny::kLoadAddress, 8192), std::byte{0xee});
    ASSERT_TRUE(load().has_value());
    const std::uint64_t end = tiny::kLoadAddress + tiny::power_off().bytes.size();
    EXPECT_EQ(at<std::uint8_t>(end), 0xee);
}

TEST_F(PvhTest, ZeroesItWhereAnEarlierSegmentWas) {
    // A table of its own behind the image: the segment, the note, and the segment 4 bytes further.
    Elf64_Ehdr elf = header();
    std::array<Elf64_Phdr, 3> table{};
    std::memcpy(table.data(), image_.data() + elf.e_phoff, 2 * sizeof(Elf64_Phdr));
    table[2] = table[0];
    table[2].p_paddr += 4;
    table[2].p_filesz = 1;
    table[0].p_filesz = table[0].p_memsz = tiny::power_off().bytes.size();
    elf.e_phoff = image_.size();
    elf.e_phnum = table.size();
    set_header(elf);
    std::ranges::copy(std::as_bytes(std::span(table)), std::back_inserter(image_));
    ASSERT_TRUE(load().has_value());
    const tiny::Code code = tiny::power_off();
    EXPECT_EQ(at<std::uint8_t>(tiny::kLoadAddress + 3), code.bytes[3]);
    EXPECT_EQ(at<std::uint8_t>(tiny::kLoadAddress + 4), code.bytes[0]);
    for (std::uint64_t i = 5; i < code.bytes.size(); ++i) {
        EXPECT_EQ(at<std::uint8_t>(tiny::kLoadAddress + i), 0) << i;
    }
}

TEST_F(PvhTest, StartInfoNamesEverything) {
    const std::string content(5000, 'i');
    const Fd initrd = tiny::file_of(std::as_bytes(std::span(content)));
    const auto entry = load(initrd.ref(), "console=ttyS0");
    ASSERT_TRUE(entry.has_value()) << entry.error().message();
    const auto info = at<abi::pvh::StartInfo>(std::to_underlying(entry->start_info));
    EXPECT_EQ(info.magic, abi::pvh::kStartMagic);
    EXPECT_EQ(info.version, 1U);
    EXPECT_EQ(info.rsdp, std::to_underlying(layout::kAcpiTables));
    const auto text = memory_.span_at(virtio::GuestAddress{info.command_line}, Bytes(14)).value();
    EXPECT_EQ(std::memcmp(text.data(), "console=ttyS0", 14), 0);
    ASSERT_EQ(info.module_count, 1U);
    const auto module = at<abi::pvh::Module>(info.modules);
    EXPECT_EQ(module.address, (4U << 20U) - 8192);  // whole pages at the top of low memory
    EXPECT_EQ(module.size, 5000U);
    EXPECT_EQ(at<char>(module.address), 'i');
    EXPECT_EQ(at<char>(module.address + 4999), 'i');
}

TEST_F(PvhTest, WithoutInitrdThereIsNoModule) {
    const auto entry = load();
    ASSERT_TRUE(entry.has_value());
    EXPECT_EQ(at<abi::pvh::StartInfo>(std::to_underlying(entry->start_info)).module_count, 0U);
}

TEST_F(PvhTest, MemoryMapHasAllRamAndReservesWhatIsNot) {
    const auto entry = load();
    ASSERT_TRUE(entry.has_value());
    const auto info = at<abi::pvh::StartInfo>(std::to_underlying(entry->start_info));
    std::vector<abi::pvh::MemoryMapEntry> map;
    for (std::uint64_t i = 0; i < info.memory_map_entries; ++i) {
        map.push_back(at<abi::pvh::MemoryMapEntry>(info.memory_map + (i * sizeof(map[0]))));
    }
    ASSERT_EQ(map.size(), 5U);
    EXPECT_EQ(map[0].size, 0x9fc00U);
    EXPECT_EQ(map[1].type, abi::pvh::MemoryType::Reserved);  // ACPI lies here
    EXPECT_EQ(map[1].address + map[1].size, 0x100000U);
    EXPECT_EQ(map[2].address + map[2].size, 4U << 20U);
    EXPECT_EQ(map[3].address, layout::kEcamStart);
    EXPECT_EQ(map[3].type, abi::pvh::MemoryType::Reserved);
    EXPECT_EQ(map[4].address, layout::kHighRamStart);
    EXPECT_EQ(map[4].size, 1U << 20U);
}

TEST_F(PvhTest, CommandLineLimitIsLinuxs) {
    EXPECT_TRUE(load(std::nullopt, std::string(2047, 'x')).has_value());
    EXPECT_EQ(load(std::nullopt, std::string(2048, 'x')).error().code(), Code::OutOfRange);
}

TEST_F(PvhTest, InitrdThatDoesNotFitIsRefused) {
    const Fd huge = tiny::file_of(std::vector<std::byte>((3U << 20U) + 1));
    EXPECT_EQ(load(huge.ref()).error().message(),
              "initrd of 3145729 B does not fit into guest memory beside the kernel");
    const Fd larger_than_ram = tiny::file_of(std::vector<std::byte>((4U << 20U) + 1));
    EXPECT_EQ(load(larger_than_ram.ref()).error().code(), Code::OutOfRange);
    const Fd empty = tiny::file_of({});
    EXPECT_EQ(load(empty.ref()).error().message(), "initrd is empty");
}

TEST_F(PvhTest, TruncatedAnywhereIsAnError) {
    const Image whole = image_;
    for (std::size_t size = 0; size < whole.size(); ++size) {
        image_.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
        ASSERT_FALSE(load().has_value()) << size;
    }
    EXPECT_EQ(refusal(), "kernel is truncated: a segment lies beyond its end");
}

TEST_F(PvhTest, OtherFilesAreNoKernels) {
    image_.assign(1000, std::byte{'x'});
    EXPECT_EQ(refusal(), "not a kernel: no ELF magic");
    image_.assign(10, std::byte{'x'});
    EXPECT_EQ(refusal(), "not a kernel: shorter than an ELF header");
}

TEST_F(PvhTest, KernelOfAnotherMachineIsRefused) {
    Elf64_Ehdr elf = header();
    elf.e_machine = EM_AARCH64;
    set_header(elf);
    EXPECT_EQ(refusal(), "not a kernel for x86-64");
}

TEST_F(PvhTest, ProgramHeaderLimitIsHeld) {
    Elf64_Ehdr elf = header();
    elf.e_phnum = kProgramHeadersMax + 1;
    set_header(elf);
    EXPECT_EQ(refusal(), "kernel with 65 program headers of 56 B");
    elf.e_phnum = 2;
    elf.e_phoff = ~std::uint64_t{0} - 10;
    set_header(elf);
    EXPECT_EQ(refusal(), "kernel is truncated: its program headers lie beyond its end");
}

TEST_F(PvhTest, SegmentOutsideMemoryIsRefused) {
    change(0, [](Elf64_Phdr& load) { load.p_paddr = 4U << 20U; });
    EXPECT_EQ(load().error().code(), Code::OutOfRange);
    change(0, [](Elf64_Phdr& load) { load.p_paddr = 0x6000; });
    EXPECT_EQ(refusal(), "kernel wants to be loaded at 0x6000, below 1 MiB");
    change(0, [](Elf64_Phdr& load) { load.p_paddr = layout::kHighRamStart; });
    EXPECT_EQ(load().error().code(), Code::OutOfRange);
}

TEST_F(PvhTest, SegmentThatWrapsIsRefused) {
    change(0, [](Elf64_Phdr& load) {
        load.p_paddr = 1U << 20U;
        load.p_memsz = ~std::uint64_t{0} - (1U << 20U) + 1;
    });
    EXPECT_EQ(refusal(), "kernel has a segment that is smaller than its file or wraps");
}

TEST_F(PvhTest, SegmentSmallerThanItsFileIsRefused) {
    change(0, [](Elf64_Phdr& load) { load.p_memsz = load.p_filesz - 1; });
    EXPECT_EQ(refusal(), "kernel has a segment that is smaller than its file or wraps");
}

TEST_F(PvhTest, WithoutTheNoteThereIsNoEntry) {
    change(1, [](Elf64_Phdr& note) { note.p_type = PT_NULL; });
    EXPECT_EQ(refusal(), "kernel has no PVH entry (is CONFIG_PVH off?)");
}

TEST_F(PvhTest, NotesLimitIsHeld) {
    const std::size_t before = image_.size();
    image_.resize(before + kNotesSizeMax + 1);
    change(1, [before](Elf64_Phdr& note) {
        note.p_offset = before;
        note.p_filesz = kNotesSizeMax;  // nothing but zeroes: notes of no name and no size
    });
    EXPECT_EQ(refusal(), "kernel has no PVH entry (is CONFIG_PVH off?)");
    change(1, [](Elf64_Phdr& note) { note.p_filesz = kNotesSizeMax + 1; });
    EXPECT_EQ(refusal(), "kernel with 65537 B of notes");
}

TEST_F(PvhTest, NoteThatIsLargerThanItsSegmentIsNone) {
    change(1, [](Elf64_Phdr& note) { note.p_filesz -= 1; });
    EXPECT_EQ(refusal(), "kernel has no PVH entry (is CONFIG_PVH off?)");
}

TEST_F(PvhTest, KernelWithNothingToLoadIsRefused) {
    change(0, [](Elf64_Phdr& load) { load.p_type = PT_NULL; });
    EXPECT_EQ(refusal(), "kernel has nothing to load");
}

}  // namespace
}  // namespace pepita::vmm
