#include "storage/zram/cold_codec.h"

#include <zstd.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <utility>

#include "kernel-abi/sys/check.h"
#include "storage/zram/lz4_page.h"
#include "storage/zram/memory_file.h"

namespace pepita::storage::zram {
namespace {

constexpr int kLevel = 3;

// Both contexts, of which zstd 1.5.4 makes no more for pages.
constexpr std::uint64_t kUse = 1U << 20U;

template <auto Free>
struct Freeing {
    template <typename Context>
    void operator()(Context* context) const {
        (void)Free(context);
    }
};

}  // namespace

struct ColdCodec::Contexts {
    std::mutex packing;
    std::unique_ptr<ZSTD_CCtx, Freeing<ZSTD_freeCCtx>> packer{ZSTD_createCCtx()};
    std::mutex unpacking;
    std::unique_ptr<ZSTD_DCtx, Freeing<ZSTD_freeDCtx>> unpacker{ZSTD_createDCtx()};
};

ColdCodec::ColdCodec(std::shared_ptr<MemoryFile> file) : file_(std::move(file)) {}

ColdCodec::~ColdCodec() {
    if (contexts_) {
        file_->refund(kUse);
    }
}

bool ColdCodec::prepare() {
    const std::scoped_lock lock(making_);
    if (contexts_) {
        return true;
    }
    if (!file_->charge(kUse)) {
        return false;
    }
    contexts_ = std::make_unique<Contexts>();
    CHECK(contexts_->packer && contexts_->unpacker);  // no memory
    return true;
}

std::size_t ColdCodec::pack(PageView page, std::span<std::byte> into) {
    const std::scoped_lock lock(contexts_->packing);
    const std::size_t size = ZSTD_compressCCtx(contexts_->packer.get(), into.data(), into.size(),
                                               page.data(), page.size(), kLevel);
    CHECK(ZSTD_sizeof_CCtx(contexts_->packer.get()) + ZSTD_sizeof_DCtx(contexts_->unpacker.get()) <=
          kUse);
    return ZSTD_isError(size) != 0 ? 0 : size;
}

bool ColdCodec::unpack(std::span<const std::byte> frame, PageSpan into) {
    const std::scoped_lock lock(contexts_->unpacking);
    return ZSTD_decompressDCtx(contexts_->unpacker.get(), into.data(), into.size(), frame.data(),
                               frame.size()) == kPageBytes;
}

}  // namespace pepita::storage::zram
