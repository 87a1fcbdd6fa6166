#pragma once

#include <openssl/types.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"

namespace pepita::storage::image {

/// A piece of a file, or of a pipe from where it is.
class FileSource final : public ByteSource {
public:
    /// All that is left from the file's position on. `file` is borrowed.
    explicit FileSource(FdRef file) : file_(file) {}
    /// `size` bytes at `offset`; the position does not matter.
    FileSource(FdRef file, std::uint64_t offset, Bytes size)
        : file_(file), has_range_(true), offset_(offset), left_(size.value()) {}
    Result<std::size_t> read(std::span<std::byte> into) override;

private:
    FdRef file_;
    bool has_range_ = false;
    std::uint64_t offset_ = 0;
    std::uint64_t left_ = 0;
};

/// Bytes in memory, borrowed.
class MemorySource final : public ByteSource {
public:
    explicit MemorySource(std::span<const std::byte> bytes) : bytes_(bytes) {}
    explicit MemorySource(std::string_view text) : bytes_(std::as_bytes(std::span(text))) {}
    Result<std::size_t> read(std::span<std::byte> into) override;

private:
    std::span<const std::byte> bytes_;
};

/// Passes bytes through, counts them and takes their SHA-256.
class HashingSource final : public ByteSource {
public:
    /// `from` is borrowed. Errors: Internal where the library refuses to work.
    static Result<std::unique_ptr<HashingSource>> create(ByteSource& from);
    HashingSource(const HashingSource&) = delete;
    HashingSource& operator=(const HashingSource&) = delete;
    HashingSource(HashingSource&&) = delete;
    HashingSource& operator=(HashingSource&&) = delete;
    ~HashingSource() override;

    Result<std::size_t> read(std::span<std::byte> into) override;
    Bytes count() const { return Bytes(count_); }
    /// Reads what is left, then gives the digest of all. Once.
    Result<Digest> finish();

private:
    HashingSource(ByteSource& from, EVP_MD_CTX* context) : from_(from), context_(context) {}
    ByteSource& from_;
    EVP_MD_CTX* context_;
    std::uint64_t count_ = 0;
};

/// Ours: what this program compressed itself.
enum class Origin : std::uint8_t { Foreign, Ours };

/// The uncompressed bytes of `from`: of gzip (also several members), zstd (also several frames), or
/// as they are. What it is, its first bytes say: media types lie, and the diff-id tells in the end.
/// Errors of reading: DataLoss for damaged and truncated streams; ResourceExhausted for one that
/// expands beyond ImageLimits, if it is foreign.
Result<std::unique_ptr<ByteSource>> uncompressed(ByteSource& from, Origin origin = Origin::Foreign);

}  // namespace pepita::storage::image
