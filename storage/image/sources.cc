#include "storage/image/sources.h"

#include <openssl/evp.h>
#include <unistd.h>
#define ZLIB_CONST  // what it only reads, it says so
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/limits.h"

namespace pepita::storage::image {
namespace {

constexpr std::size_t kBufferSize = std::size_t{128} << 10U;

/// What the decompressors have in common: a buffer of compressed bytes, and how far they expand.
class Expansion {
public:
    Expansion(ByteSource& from, Origin origin)
        : from_(from), origin_(origin), buffer_(kBufferSize) {}

    /// Compressed bytes that were not consumed; reads more where there are none. Empty: the end.
    Result<std::span<const std::byte>> input() {
        if (begin_ == end_) {
            begin_ = 0;
            end_ = TRY(from_.read(buffer_));
            taken_ += end_;
        }
        return std::span<const std::byte>(buffer_).subspan(begin_, end_ - begin_);
    }
    void consume(std::size_t count) { begin_ += count; }

    /// Puts the first bytes, which were looked at, in front.
    void begin_with(std::span<const std::byte> first) {
        std::ranges::copy(first, buffer_.begin());
        end_ = first.size();
        taken_ = end_;
    }

    Result<void> count_output(std::size_t count) {
        given_ += count;
        if (origin_ == Origin::Foreign && given_ > ImageLimits::kExpansionFree.value() &&
            given_ / ImageLimits::kExpansionMax > taken_) {
            return Error(Code::ResourceExhausted, "the stream expands more than " +
                                                      std::to_string(ImageLimits::kExpansionMax) +
                                                      " times");
        }
        return {};
    }

private:
    ByteSource& from_;
    Origin origin_;
    std::vector<std::byte> buffer_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
    std::uint64_t taken_ = 0;
    std::uint64_t given_ = 0;
};

class PlainSource final : public ByteSource {
public:
    PlainSource(ByteSource& from, Origin origin) : input_(from, origin) {}
    Expansion& input() { return input_; }
    Result<std::size_t> read(std::span<std::byte> into) override {
        const std::span<const std::byte> bytes = TRY(input_.input());
        const std::size_t count = std::min(bytes.size(), into.size());
        std::ranges::copy(bytes.first(count), into.begin());
        input_.consume(count);
        return count;
    }

private:
    Expansion input_;
};

class GzipSource final : public ByteSource {
public:
    GzipSource(ByteSource& from, Origin origin) : input_(from, origin) {}
    GzipSource(const GzipSource&) = delete;
    GzipSource& operator=(const GzipSource&) = delete;
    GzipSource(GzipSource&&) = delete;
    GzipSource& operator=(GzipSource&&) = delete;
    ~GzipSource() override { (void)::inflateEnd(&stream_); }
    Expansion& input() { return input_; }

    Result<void> start() {
        constexpr int gzip_only = 15 + 16;
        if (::inflateInit2(&stream_, gzip_only) != Z_OK) {
            return Error(Code::Internal, "zlib is not available");
        }
        return {};
    }

    Result<std::size_t> read(std::span<std::byte> into) override {
        while (!into.empty()) {
            const std::span<const std::byte> bytes = TRY(input_.input());
            if (is_between_members_) {
                // RFC 1952: members may follow each other. Zeros behind the last one are padding.
                if (bytes.empty() || bytes.front() == std::byte{0}) {
                    return std::size_t{0};
                }
                (void)::inflateReset(&stream_);
                is_between_members_ = false;
            }
            if (bytes.empty()) {
                return Error(Code::DataLoss, "the gzip stream is truncated");
            }
            const std::size_t count = TRY(inflate_some(bytes, into));
            if (count != 0) {
                TRY(input_.count_output(count));
                return count;
            }
        }
        return std::size_t{0};
    }

private:
    Result<std::size_t> inflate_some(std::span<const std::byte> bytes, std::span<std::byte> into) {
        // SAFETY: zlib reads and writes only what the counts beside the pointers allow.
        stream_.next_in = reinterpret_cast<const Bytef*>(bytes.data());
        stream_.avail_in = static_cast<uInt>(bytes.size());
        stream_.next_out = reinterpret_cast<Bytef*>(into.data());
        stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(into.size(), 1U << 30U));
        const uInt room = stream_.avail_out;
        const int status = ::inflate(&stream_, Z_NO_FLUSH);
        input_.consume(bytes.size() - stream_.avail_in);
        if (status == Z_STREAM_END) {
            is_between_members_ = true;
        } else if (status != Z_OK && status != Z_BUF_ERROR) {
            return Error(Code::DataLoss, "the gzip stream is damaged");
        }
        return room - stream_.avail_out;
    }

    Expansion input_;
    z_stream stream_{};
    bool is_between_members_ = false;
};

class ZstdSource final : public ByteSource {
public:
    ZstdSource(ByteSource& from, Origin origin)
        : input_(from, origin), stream_(::ZSTD_createDStream()) {}
    ZstdSource(const ZstdSource&) = delete;
    ZstdSource& operator=(const ZstdSource&) = delete;
    ZstdSource(ZstdSource&&) = delete;
    ZstdSource& operator=(ZstdSource&&) = delete;
    ~ZstdSource() override { (void)::ZSTD_freeDStream(stream_); }
    Expansion& input() { return input_; }

    Result<void> start() {
        constexpr int window_log_max = 27;  // 128 MiB, as zstd's own program without --long
        if (stream_ == nullptr || ::ZSTD_isError(::ZSTD_DCtx_setParameter(
                                      stream_, ZSTD_d_windowLogMax, window_log_max)) != 0) {
            return Error(Code::Internal, "zstd is not available");
        }
        return {};
    }

    Result<std::size_t> read(std::span<std::byte> into) override {
        while (!into.empty()) {
            const std::span<const std::byte> bytes = TRY(input_.input());
            if (bytes.empty() && is_between_frames_) {
                return std::size_t{0};
            }
            ZSTD_inBuffer in{.src = bytes.data(), .size = bytes.size(), .pos = 0};
            ZSTD_outBuffer out{.dst = into.data(), .size = into.size(), .pos = 0};
            const std::size_t status = ::ZSTD_decompressStream(stream_, &out, &in);
            if (::ZSTD_isError(status) != 0) {
                return Error(Code::DataLoss, std::string("the zstd stream is damaged: ") +
                                                 ::ZSTD_getErrorName(status));
            }
            input_.consume(in.pos);
            is_between_frames_ = status == 0;
            if (out.pos != 0) {
                TRY(input_.count_output(out.pos));
                return out.pos;
            }
            if (bytes.empty() && !is_between_frames_) {
                return Error(Code::DataLoss, "the zstd stream is truncated");
            }
        }
        return std::size_t{0};
    }

private:
    Expansion input_;
    ZSTD_DStream* stream_;
    bool is_between_frames_ = true;
};

template <typename Source>
Result<std::unique_ptr<ByteSource>> started(ByteSource& from, Origin origin,
                                            std::span<const std::byte> first) {
    auto source = std::make_unique<Source>(from, origin);
    if constexpr (requires { source->start(); }) {
        TRY(source->start());
    }
    source->input().begin_with(first);
    return std::unique_ptr<ByteSource>(std::move(source));
}

bool is_gzip(std::span<const std::byte> first) {
    return first.size() >= 2 && first[0] == std::byte{0x1f} && first[1] == std::byte{0x8b};
}

/// RFC 8878 §3.1: a frame, or one that is to be skipped.
bool is_zstd(std::span<const std::byte> first) {
    if (first.size() < 4) {
        return false;
    }
    const bool is_frame = first[0] == std::byte{0x28} && first[1] == std::byte{0xb5} &&
                          first[2] == std::byte{0x2f} && first[3] == std::byte{0xfd};
    const bool is_skipped = (first[0] & std::byte{0xf0}) == std::byte{0x50} &&
                            first[1] == std::byte{0x2a} && first[2] == std::byte{0x4d} &&
                            first[3] == std::byte{0x18};
    return is_frame || is_skipped;
}

}  // namespace

Result<std::size_t> read_fully(ByteSource& source, std::span<std::byte> into) {
    std::size_t filled = 0;
    while (filled < into.size()) {
        const std::size_t count = TRY(source.read(into.subspan(filled)));
        if (count == 0) {
            break;
        }
        filled += count;
    }
    return filled;
}

Result<std::size_t> FileSource::read(std::span<std::byte> into) {
    const std::size_t most = has_range_ ? std::min<std::uint64_t>(into.size(), left_) : into.size();
    if (most == 0) {
        return std::size_t{0};
    }
    ssize_t count = 0;
    do {
        count = has_range_ ? ::pread(file_.number(), into.data(), most, static_cast<off_t>(offset_))
                           : ::read(file_.number(), into.data(), most);
    } while (count < 0 && errno == EINTR);
    if (count < 0) {
        return Error::from_errno(errno, "read");
    }
    if (has_range_) {
        if (count == 0) {
            return Error(Code::DataLoss, "the file ends too early");
        }
        offset_ += static_cast<std::uint64_t>(count);
        left_ -= static_cast<std::uint64_t>(count);
    }
    return static_cast<std::size_t>(count);
}

Result<std::size_t> MemorySource::read(std::span<std::byte> into) {
    const std::size_t count = std::min(into.size(), bytes_.size());
    std::ranges::copy(bytes_.first(count), into.begin());
    bytes_ = bytes_.subspan(count);
    return count;
}

Result<std::unique_ptr<HashingSource>> HashingSource::create(ByteSource& from) {
    EVP_MD_CTX* const context = ::EVP_MD_CTX_new();
    std::unique_ptr<HashingSource> source(new HashingSource(from, context));
    if (context == nullptr || ::EVP_DigestInit_ex(context, ::EVP_sha256(), nullptr) != 1) {
        return Error(Code::Internal, "SHA-256 is not available");
    }
    return source;
}

HashingSource::~HashingSource() { ::EVP_MD_CTX_free(context_); }

Result<std::size_t> HashingSource::read(std::span<std::byte> into) {
    const std::size_t count = TRY(from_.read(into));
    if (::EVP_DigestUpdate(context_, into.data(), count) != 1) {
        return Error(Code::Internal, "SHA-256 is not available");
    }
    count_ += count;
    return count;
}

Result<Digest> HashingSource::finish() {
    std::vector<std::byte> rest(kBufferSize);
    while (TRY(read(rest)) != 0) {}
    Digest digest;
    unsigned size = 0;
    // SAFETY: EVP writes 32 bytes for SHA-256, which is what the array holds.
    if (::EVP_DigestFinal_ex(context_, reinterpret_cast<unsigned char*>(digest.bytes.data()),
                             &size) != 1 ||
        size != digest.bytes.size()) {
        return Error(Code::Internal, "SHA-256 is not available");
    }
    return digest;
}

Result<std::unique_ptr<ByteSource>> uncompressed(ByteSource& from, Origin origin) {
    std::array<std::byte, 4> space{};
    const std::size_t count = TRY(read_fully(from, space));
    const std::span<const std::byte> first = std::span(space).first(count);
    if (is_gzip(first)) {
        return started<GzipSource>(from, origin, first);
    }
    return is_zstd(first) ? started<ZstdSource>(from, origin, first)
                          : started<PlainSource>(from, origin, first);
}

}  // namespace pepita::storage::image
