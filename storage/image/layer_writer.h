#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/digest.h"
#include "storage/image/byte_source.h"

namespace pepita::storage::image {

/// What a layer came to.
struct WrittenLayer {
    Digest diff_id;            // of the uncompressed tar
    Bytes tar;                 // its size
    std::uint64_t blocks = 0;  // of the data, 4 KiB each
    std::uint64_t entries = 0;
};

/// Splits a layer's tar while it comes in: the files' data into `data`, each file from a block of
/// 4 KiB on with zeros behind it and holes where a sparse file has them; the rest, compressed, into
/// `headers`. Both files are empty before; neither is on stable storage after.
///
/// Not the tar in place with blocks of 512 bytes, which would be simpler: that needs Linux 6.4 in
/// the guest and disks with sectors of 512 bytes, has no room for holes, cannot be checked by
/// fsck.erofs, and has no file on a page boundary, where DAX and sharing of equal pages need it.
/// The price is up to 4 KiB for each file.
///
/// `tar` is uncompressed bytes and read to its end. Errors: TarReader's; write(2)'s.
Result<WrittenLayer> write_layer(ByteSource& tar, FdRef data, FdRef headers);

/// The tar again, byte for byte, from what write_layer() made of it.
class LayerTar final : public ByteSource {
public:
    /// All are borrowed. `headers` is uncompressed.
    LayerTar(ByteSource& headers, FdRef data);
    LayerTar(const LayerTar&) = delete;
    LayerTar& operator=(const LayerTar&) = delete;
    LayerTar(LayerTar&&) = delete;
    LayerTar& operator=(LayerTar&&) = delete;
    ~LayerTar() override;
    Result<std::size_t> read(std::span<std::byte> into) override;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace pepita::storage::image
