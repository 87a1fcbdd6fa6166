// The disk of an image of tar layers: image_disk OUTPUT LAYER... Exit 1, one line, where one is
// refused. For image_disk_test.py.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "storage/image/erofs_writer.h"
#include "storage/image/image_tree.h"
#include "storage/image/layer_writer.h"
#include "storage/image/sources.h"

namespace pepita::storage::image {
namespace {

Result<void> copy(ByteSource& from, FdRef to) {
    std::vector<std::byte> buffer(std::size_t{1} << 20U);
    for (;;) {
        const std::size_t count = TRY(from.read(buffer));
        if (count == 0) {
            return {};
        }
        TRY(write_all(to, std::span(buffer).first(count), "output"));
    }
}

struct Layer {
    Fd data;
    Fd headers;
};

/// Reads the layer, and gives its tar again to see that it is the same.
Result<WrittenLayer> read_layer(const char* path, const Layer& layer) {
    const Fd file = TRY(open_file(path, O_RDONLY));
    FileSource bytes(file.ref());
    const auto tar = TRY(uncompressed(bytes));
    const WrittenLayer written = TRY(write_layer(*tar, layer.data.ref(), layer.headers.ref()));
    FileSource headers(layer.headers.ref(), 0, TRY(file_size(layer.headers.ref())));
    const auto skeleton = TRY(uncompressed(headers, Origin::Ours));
    LayerTar again(*skeleton, layer.data.ref());
    const auto hashed = TRY(HashingSource::create(again));
    const Digest digest = TRY(hashed->finish());
    if (digest != written.diff_id) {
        return Error(Code::DataLoss, "the tar that comes back is another one");
    }
    return written;
}

Result<void> make(std::span<char*> arguments) {
    std::vector<Layer> layers;
    std::vector<std::uint64_t> blocks;
    ImageTree tree;
    for (const char* path : arguments.subspan(1)) {
        Layer& layer = layers.emplace_back(Fd(::memfd_create("data", MFD_CLOEXEC)),
                                           Fd(::memfd_create("headers", MFD_CLOEXEC)));
        blocks.push_back(TRY(read_layer(path, layer), path).blocks);
        TRY(apply_layer(tree, layer.headers.ref(), static_cast<std::uint32_t>(layers.size() - 1)));
    }
    const std::vector<std::byte> metadata = TRY(write_erofs(tree, blocks, {}));
    const Fd output(::open(arguments[0], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
    TRY(write_all(output.ref(), metadata, arguments[0]));
    for (std::size_t i = 0; i < layers.size(); ++i) {
        FileSource data(layers[i].data.ref(), 0, Bytes(blocks[i] * kErofsBlock));
        TRY(copy(data, output.ref()));
    }
    return {};
}

}  // namespace
}  // namespace pepita::storage::image

int main(int argc, char** argv) {
    const std::span<char*> all(argv, static_cast<std::size_t>(argc));
    const pepita::Result<void> made = pepita::storage::image::make(all.subspan(1));
    if (!made) {
        (void)!pepita::write_all(pepita::FdRef(STDERR_FILENO), made.error().message() + "\n", "");
    }
    return made ? 0 : 1;
}
