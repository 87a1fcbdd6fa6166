#include "storage/image/layer_writer.h"

#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "kernel-abi/sys/utf8.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"
#include "storage/image/layer_layout.h"
#include "storage/image/limits.h"
#include "storage/image/sources.h"
#include "storage/image/tar_reader.h"

namespace pepita::storage::image {
namespace {

/// Writes zstd frames to a file.
class Compressor {
public:
    explicit Compressor(FdRef file)
        : file_(file), stream_(::ZSTD_createCStream()), buffer_(::ZSTD_CStreamOutSize()) {}
    Compressor(const Compressor&) = delete;
    Compressor& operator=(const Compressor&) = delete;
    Compressor(Compressor&&) = delete;
    Compressor& operator=(Compressor&&) = delete;
    ~Compressor() { (void)::ZSTD_freeCStream(stream_); }

    Result<void> write(std::span<const std::byte> bytes) {
        return compress(bytes, ZSTD_e_continue);
    }
    Result<void> finish() { return compress({}, ZSTD_e_end); }

private:
    Result<void> compress(std::span<const std::byte> bytes, ZSTD_EndDirective end) {
        ZSTD_inBuffer in{.src = bytes.data(), .size = bytes.size(), .pos = 0};
        for (bool is_done = false; !is_done;) {
            ZSTD_outBuffer out{.dst = buffer_.data(), .size = buffer_.size(), .pos = 0};
            const std::size_t left = ::ZSTD_compressStream2(stream_, &out, &in, end);
            if (::ZSTD_isError(left) != 0) {
                return Error(Code::Internal, ::ZSTD_getErrorName(left));
            }
            TRY(write_all(file_, std::span(buffer_).first(out.pos), "headers"));
            is_done = end == ZSTD_e_end ? left == 0 : in.pos == in.size;
        }
        return {};
    }

    FdRef file_;
    ZSTD_CStream* stream_;
    std::vector<std::byte> buffer_;
};

/// Puts small files together, so that they are written in pieces of a MiB.
class DataFile {
public:
    explicit DataFile(FdRef file) : file_(file), buffer_(kBufferSize) {}

    /// Room at `offset` of the file, which is nowhere before the end of the last. Not empty.
    Result<std::span<std::byte>> room(std::uint64_t offset) {
        const std::uint64_t end = begin_ + used_;
        const bool is_near = offset - end < kErofsBlock && offset - begin_ < buffer_.size();
        if (!is_near) {
            TRY(flush());
            begin_ = offset;
        } else {
            // The zeros behind a file, up to the next block.
            std::ranges::fill(std::span(buffer_).subspan(used_, offset - end), std::byte{0});
            used_ += offset - end;
        }
        return std::span(buffer_).subspan(used_);
    }
    void use(std::size_t count) { used_ += count; }

    Result<void> finish(std::uint64_t size) {
        TRY(flush());
        if (::ftruncate(file_.number(), static_cast<off_t>(size)) != 0) {
            return Error::from_errno(errno, "set the layer's size");
        }
        return {};
    }

private:
    static constexpr std::size_t kBufferSize = std::size_t{1} << 20U;

    Result<void> flush() {
        for (std::size_t at = 0; at < used_;) {
            const ssize_t count =
                ::pwrite(file_.number(), &buffer_[at], used_ - at, static_cast<off_t>(begin_ + at));
            if (count < 0 && errno != EINTR) {
                return Error::from_errno(errno, "write the layer's data");
            }
            at += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
        }
        begin_ += used_;
        used_ = 0;
        return {};
    }

    FdRef file_;
    std::vector<std::byte> buffer_;
    std::uint64_t begin_ = 0;
    std::size_t used_ = 0;
};

/// Where the stored bytes of an entry belong in its file.
std::vector<TarEntry::Extent> extents_of(const TarEntry& entry) {
    return entry.extents.value_or(
        std::vector<TarEntry::Extent>{{.offset = 0, .length = entry.stored_size}});
}

Result<void> write_file(TarReader& tar, const TarEntry& entry, std::uint64_t begin,
                        DataFile& data) {
    for (const TarEntry::Extent& extent : extents_of(entry)) {
        for (std::uint64_t done = 0; done < extent.length;) {
            const std::span<std::byte> room = TRY(data.room(begin + extent.offset + done));
            const std::size_t count = TRY(
                tar.read(room.first(std::min<std::uint64_t>(room.size(), extent.length - done))));
            data.use(count);
            done += count;
        }
    }
    return {};
}

}  // namespace

Result<WrittenLayer> write_layer(ByteSource& tar, FdRef data, FdRef headers) {
    const auto hashed = TRY(HashingSource::create(tar));
    Compressor compressor(headers);
    TarReader reader(*hashed, TarReader::Kind::Whole,
                     [&](std::span<const std::byte> bytes) { return compressor.write(bytes); });
    DataFile file(data);
    LayerLayout layout;
    WrittenLayer layer;
    while (const std::optional<TarEntry> entry = TRY(reader.next())) {
        if (++layer.entries > ImageLimits::kEntriesMax) {
            return Error(
                Code::ResourceExhausted,
                "the layer has more than " + std::to_string(ImageLimits::kEntriesMax) + " entries");
        }
        if (entry->type == TarEntry::Type::Regular) {
            const std::uint64_t begin = TRY(layout.place(entry->size)) * kErofsBlock;
            TRY(write_file(reader, *entry, begin, file), "'", printable(entry->path), "'");
        }
        if (hashed->count() > ImageLimits::kLayerMax) {
            return Error(Code::ResourceExhausted,
                         "the layer passes " +
                             std::to_string(ImageLimits::kLayerMax.value() >> 30U) + " GiB");
        }
    }
    TRY(reader.finish());
    TRY(compressor.finish());
    TRY(file.finish(layout.blocks() * kErofsBlock));
    layer.diff_id = TRY(hashed->finish());
    layer.tar = hashed->count();
    layer.blocks = layout.blocks();
    return layer;
}

struct LayerTar::State {
    State(ByteSource& from, FdRef file)
        : data(file), reader(from, TarReader::Kind::Skeleton, [this](auto bytes) -> Result<void> {
              header.insert(header.end(), bytes.begin(), bytes.end());
              return {};
          }) {}

    FdRef data;
    std::vector<std::byte> header;
    std::size_t header_at = 0;
    std::deque<TarEntry::Extent> extents;  // of the data, in front of `header`
    LayerLayout layout;
    bool is_at_end = false;
    TarReader reader;
};

LayerTar::LayerTar(ByteSource& headers, FdRef data)
    : state_(std::make_unique<State>(headers, data)) {}
LayerTar::~LayerTar() = default;

Result<std::size_t> LayerTar::read(std::span<std::byte> into) {
    State& state = *state_;
    for (;;) {
        if (state.header_at < state.header.size()) {
            const std::size_t count = std::min(into.size(), state.header.size() - state.header_at);
            std::ranges::copy(std::span(state.header).subspan(state.header_at, count),
                              into.begin());
            state.header_at += count;
            return count;
        }
        if (!state.extents.empty()) {
            TarEntry::Extent& extent = state.extents.front();
            const std::size_t most = std::min<std::uint64_t>(into.size(), extent.length);
            FileSource piece(state.data, extent.offset, Bytes(most));
            const std::size_t count = TRY(piece.read(into.first(most)));
            extent.offset += count;
            extent.length -= count;
            if (extent.length == 0) {
                state.extents.pop_front();
            }
            return count;
        }
        if (state.is_at_end || into.empty()) {
            return std::size_t{0};
        }
        state.header.clear();
        state.header_at = 0;
        const std::optional<TarEntry> entry = TRY(state.reader.next());
        if (!entry) {
            TRY(state.reader.finish());
            state.is_at_end = true;
        } else if (entry->type == TarEntry::Type::Regular) {
            const std::uint64_t begin = TRY(state.layout.place(entry->size)) * kErofsBlock;
            for (const TarEntry::Extent& extent : extents_of(*entry)) {
                if (extent.length != 0) {
                    state.extents.push_back(
                        {.offset = begin + extent.offset, .length = extent.length});
                }
            }
        }
    }
}

}  // namespace pepita::storage::image
