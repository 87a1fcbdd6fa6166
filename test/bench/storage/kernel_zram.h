#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita::bench {

/// A zram device of the kernel's, packing with LZ4, that is removed again when this goes.
/// Thread: one.
class KernelZram {
public:
    /// Errors: those of the files in /sys; NotFound where there is no zram, or no LZ4 in it.
    static Result<KernelZram> create(Bytes size);

    KernelZram(KernelZram&& other) noexcept;
    KernelZram& operator=(KernelZram&&) = delete;
    KernelZram(const KernelZram&) = delete;
    KernelZram& operator=(const KernelZram&) = delete;
    ~KernelZram();

    /// Empty again.
    Result<void> reset();
    // Past the page cache, in the context of the caller. `bytes` is aligned to pages.
    Result<void> write(std::span<const std::byte> bytes, std::uint64_t offset);
    Result<void> read(std::span<std::byte> bytes, std::uint64_t offset) const;
    /// The memory that its pages take, and its table of 16 bytes for each.
    Result<Bytes> used() const;

private:
    KernelZram(std::string number, Bytes size);
    Result<void> open_device();
    std::string attribute(const char* name) const;

    std::string number_;  // empty where another has taken over
    Bytes size_;
    Fd device_;
};

}  // namespace pepita::bench
