#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <span>

#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"

namespace pepita::storage::zram {

/// Packs pages with zstd: smaller than LZ4 does, and several times as slow. What it needs for that
/// is made, and charged to the file's account, when it is first used, and stays.
///
/// Thread: any; one page is packed and one unpacked at a time.
class ColdCodec {
public:
    explicit ColdCodec(std::shared_ptr<MemoryFile> file);
    ColdCodec(const ColdCodec&) = delete;
    ColdCodec& operator=(const ColdCodec&) = delete;
    ColdCodec(ColdCodec&&) = delete;
    ColdCodec& operator=(ColdCodec&&) = delete;
    ~ColdCodec();

    /// Has to be true before anything below is called. False where the memory limit has no room.
    bool prepare();

    /// Gives the size of the frame; 0 where it does not fit.
    std::size_t pack(PageView page, std::span<std::byte> into);
    /// False where the frame is damaged, or holds more or less than a page; `into` then means
    /// nothing. Nothing outside of the two is read or written, whatever the frame says.
    bool unpack(std::span<const std::byte> frame, PageSpan into);

private:
    struct Contexts;

    std::shared_ptr<MemoryFile> file_;  // whose account it uses; both may outlive the store
    std::mutex making_;
    std::unique_ptr<Contexts> contexts_;  // once made, it stays
};

}  // namespace pepita::storage::zram
