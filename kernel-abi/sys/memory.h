#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

/// Where a byte is in this process's address space. Not a pointer: nobody reads through it.
enum class VirtualAddress : std::uint64_t {};

/// Where a byte is in the machine's memory, as a device that does DMA would name it.
enum class PhysicalAddress : std::uint64_t {};

VirtualAddress address_of(const void* at);

/// Where the page at `at` lies right now; the kernel may move a page that is not pinned.
/// Errors: PermissionDenied without CAP_SYS_ADMIN, from which the kernel hides it; NotFound where
/// no page is there: never touched, or swapped out.
/// Source: Linux Documentation/admin-guide/mm/pagemap.rst.
Result<PhysicalAddress> translate(VirtualAddress at);

enum class PageKind : std::uint8_t {
    Base,  // 4 KiB
    Huge,  // 2 MiB, of the pool that vm.nr_hugepages sets aside
};
inline constexpr Bytes kHugePageSize{2U << 20U};

enum class Residence : std::uint8_t {
    OnDemand,  // costs memory page by page, when touched
    Pinned,    // in memory from the start, and never swapped out (mlock)
};

/// Memory for I/O: whole pages, aligned to their size, zero at first. Given back when it goes.
class PageBuffer {
public:
    struct Options {
        Bytes size;  // rounded up to whole pages of `kind`
        PageKind kind = PageKind::Base;
        Residence residence = Residence::OnDemand;
    };

    PageBuffer() = default;

    /// Errors: InvalidArgument where `size` is 0 or no mapping can be that large;
    /// ResourceExhausted, naming the limit, without free huge pages (vm.nr_hugepages) or beyond
    /// RLIMIT_MEMLOCK.
    static Result<PageBuffer> create(const Options& options);

    std::span<std::byte> bytes() const { return mapping_.bytes(); }

private:
    explicit PageBuffer(Mapping mapping) : mapping_(std::move(mapping)) {}

    Mapping mapping_;
};

}  // namespace pepita
