#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "kernel-abi/sys/check.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/pvh.h"
#include "vmm/host/kernel_image.h"

/// A kernel file as an operator may hand it over: unpacked if it is a bzImage, loaded if an ELF.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using pepita::operator""_MiB;
    const auto bytes = std::as_bytes(std::span(data, size));
    if (!pepita::vmm::is_elf(bytes)) {
        (void)pepita::vmm::unpack_kernel(bytes).has_value();
        return 0;
    }
    static const pepita::Mapping kRam = *pepita::Mapping::anonymous(4_MiB);
    static const auto kMemory = *pepita::virtio::GuestMemory::create(
        {{.start = pepita::virtio::GuestAddress{0}, .bytes = kRam.bytes()}});
    static const pepita::Fd kFile(::memfd_create("kernel", MFD_CLOEXEC));
    CHECK(::ftruncate(kFile.ref().number(), 0) == 0);
    CHECK(::pwrite(kFile.ref().number(), data, size, 0) == static_cast<ssize_t>(size));
    (void)pepita::vmm::load_pvh(
        kMemory, {.kernel = kFile.ref(), .initrd = std::nullopt, .command_line = "quiet"})
        .has_value();
    return 0;
}
