#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "storage/block_device.h"
#include "storage/zram/layout.h"
#include "storage/zram_store.h"

namespace {

namespace storage = pepita::storage;

using Page = std::array<std::byte, 4096>;

constexpr std::size_t kEnd = 48 * storage::zram::kFrameBytes;  // what lies behind is a hole

void require(bool condition) {
    if (!condition) {
        std::abort();
    }
}

pepita::Fd memory_file() { return pepita::Fd(::memfd_create("fuzz", MFD_CLOEXEC)); }

/// A small store of two volumes, as a killed process left it: its pages that are no holes, by where
/// they stand, and the file's size.
struct Image {
    std::map<std::size_t, Page> pages;
    off_t size = 0;
};

Image make_image() {
    const pepita::Fd file = memory_file();
    {
        auto store =
            storage::ZramStore::create(*pepita::duplicate(file.ref()), pepita::Bytes(4 << 20));
        require(store.has_value());
        for (const std::string name : {"a", "b"}) {
            auto volume = (*store)->create_volume({.name = name, .capacity = pepita::Pages(5000)});
            require(volume.has_value());
            Page page{};
            for (std::uint64_t i = 0; i < 24; ++i) {
                std::memcpy(page.data() + i * 8, &i, sizeof(i));
                require((*volume)->write(pepita::Pages(i * 200), page) == storage::IoStatus::Ok);
            }
        }
        // Half of it cold.
        (*store)->mark_idle();
        require((*store)->compact_idle(pepita::Pages(12)).has_value());
        require((*store)->use().sharing.cold > 0);
    }
    Image image;
    image.size = ::lseek(file.ref().number(), 0, SEEK_END);
    require(::lseek(file.ref().number(), kEnd, SEEK_DATA) < 0);
    for (std::size_t at = 0; at < kEnd; at += sizeof(Page)) {
        Page page{};
        require(::pread(file.ref().number(), page.data(), page.size(), static_cast<off_t>(at)) ==
                static_cast<ssize_t>(page.size()));
        if (page != Page{}) {
            image.pages[at] = page;
        }
    }
    return image;
}

/// The file is the same one each time: to make its pages anew takes most of the time.
void write_out(const Image& image, const std::map<std::size_t, Page>& changed, pepita::FdRef file) {
    require(::fallocate(file.number(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, image.size) ==
            0);
    const auto write = [&](std::size_t at, const Page& page) {
        require(::pwrite(file.number(), page.data(), page.size(), static_cast<off_t>(at)) ==
                static_cast<ssize_t>(page.size()));
    };
    for (const auto& [at, page] : image.pages) {
        if (!changed.contains(at)) {
            write(at, page);
        }
    }
    for (const auto& [at, page] : changed) {
        write(at, page);
    }
}

void use(storage::ZramStore& store) {
    Page page{};
    for (const auto& volume : store.volumes()) {
        for (std::uint64_t i = 0; i < 5000; i += 100) {
            (void)volume->read(pepita::Pages(i), page);
        }
        (void)volume->write(pepita::Pages(7), page);
        page.back() = std::byte{1};
        (void)volume->write(pepita::Pages(8), page);
        (void)volume->write_zeroes(pepita::Pages(200), pepita::Pages(2));
        const bool is_cut = volume->resize(pepita::Pages(4200)).has_value();
        require(!is_cut || volume->statistics().stored <= 4200);
    }
    const storage::ZramUse its = store.use();
    require(its.used <= its.limit && its.sharing.payload <= its.used);
    for (const auto& volume : store.volumes()) {
        require(volume->discard(pepita::Pages(0), volume->capacity()) == storage::IoStatus::Ok);
    }
    require(store.use().sharing == storage::ZramSharing{});  // each reference was somebody's
    for (const auto& volume : store.volumes()) {
        require(store.remove(volume->name()).has_value());
    }
    require(store.use().sharing == storage::ZramSharing{});
    require(store.use().pages == storage::ZramStatistics{});
}

}  // namespace

// A store's memory file in which somebody has changed words: six bytes of input say where (frame,
// words from its begin or, if negative, its end), and by what bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const Image kImage = make_image();
    struct Change {
        std::uint8_t frame;
        std::int8_t word;
        std::array<std::uint8_t, 4> bytes;
    };
    static const pepita::Fd file = [] {
        pepita::Fd made = memory_file();
        require(::ftruncate(made.ref().number(), kImage.size) == 0);
        return made;
    }();
    std::map<std::size_t, Page> changed;
    for (std::size_t i = 0; i + sizeof(Change) <= size; i += sizeof(Change)) {
        Change change;
        std::memcpy(&change, data + i, sizeof(change));
        const std::size_t frame = change.frame % (kEnd / storage::zram::kFrameBytes);
        const std::size_t begin = (frame + (change.word < 0 ? 1 : 0)) * storage::zram::kFrameBytes;
        const std::size_t place = begin + static_cast<std::size_t>(change.word * 4);
        const std::size_t at = place / sizeof(Page) * sizeof(Page);
        if (!changed.contains(at)) {
            const auto found = kImage.pages.find(at);
            changed[at] = found != kImage.pages.end() ? found->second : Page{};
        }
        std::memcpy(changed[at].data() + place % sizeof(Page), change.bytes.data(), 4);
    }
    write_out(kImage, changed, file.ref());
    // A second time: what was put right is right.
    for (int round = 0; round < 2; ++round) {
        auto store = storage::ZramStore::open(*pepita::duplicate(file.ref()));
        if (!store) {
            require(store.error().code() == pepita::Code::DataLoss);
            return 0;
        }
        if (round == 1) {
            use(**store);
        }
    }
    return 0;
}
