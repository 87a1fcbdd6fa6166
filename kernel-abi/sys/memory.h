#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernel-abi/sys/mapping.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

enum class PageKind : std::uint8_t {
    Base,  // 4 KiB
    Huge,  // 2 MiB, of the pool that vm.nr_hugepages sets aside
};

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
