#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"

namespace pepita {

inline constexpr Bytes kHugePageSize{2U << 20U};

/// Pages of our address space that are given back when this goes. Move-only.
class Mapping {
public:
    Mapping() = default;

    /// Zeroes that cost memory only once they are touched, and no swap reservation before.
    static Result<Mapping> anonymous(Bytes size);

    /// The same in huge pages of 2 MiB, set aside at once; `size` is whole huge pages.
    /// Errors: mmap(2)'s; ENOMEM where the system's pool has too few.
    static Result<Mapping> huge(Bytes size);

    /// A file's bytes, shared with whoever else maps or holds it, readable and writable.
    static Result<Mapping> shared(FdRef file, Bytes size, std::uint64_t offset = 0);

    /// The same at an address of whole huge pages, and in such pages where the file can have them
    /// (see create_memory_file()). `offset` is whole huge pages.
    static Result<Mapping> shared_huge(FdRef file, Bytes size, std::uint64_t offset = 0);

    /// As shared(), and only readable: a write to it ends the process.
    static Result<Mapping> shared_read_only(FdRef file, Bytes size, std::uint64_t offset = 0);

    Mapping(Mapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    ~Mapping();

    std::span<std::byte> bytes() const { return bytes_; }

private:
    explicit Mapping(std::span<std::byte> bytes) : bytes_(bytes) {}
    std::span<std::byte> bytes_;
};

}  // namespace pepita
