#include "vmm/host/kernel_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "test/support/bzimage.h"
#include "test/support/tiny_guest.h"

namespace pepita::vmm {
namespace {

/// An ELF, and enough behind it that packing makes it smaller.
std::vector<std::byte> vmlinux() {
    std::vector<std::byte> bytes = tiny::kernel_bytes(tiny::power_off());
    bytes.resize(100'000, std::byte{0x90});
    return bytes;
}

using Bytes = std::vector<std::byte>;

Bytes image_of(const Bytes& packed, std::size_t size) {
    return bzimage(packed, static_cast<std::uint32_t>(size));
}

void expect_unpacks(const Bytes& image, const Bytes& kernel) {
    const auto unpacked = unpack_kernel(image);
    ASSERT_TRUE(unpacked.has_value()) << unpacked.error().message();
    EXPECT_TRUE(std::ranges::equal(unpacked->bytes(), kernel));
}

std::string refusal(const Bytes& image) {
    const auto unpacked = unpack_kernel(image);
    return unpacked ? "unpacked" : unpacked.error().message();
}

TEST(KernelImage, UnpacksZstdAsDebian12BackportsHas) {
    const Bytes kernel = vmlinux();
    expect_unpacks(image_of(pack_zstd(kernel), kernel.size()), kernel);
}

TEST(KernelImage, UnpacksLz4AsDebian12Has) {
    const Bytes kernel = vmlinux();
    expect_unpacks(image_of(pack_lz4(kernel), kernel.size()), kernel);
}

TEST(KernelImage, UnpacksXz) {
    const Bytes kernel = vmlinux();
    expect_unpacks(image_of(pack_xz(kernel), kernel.size()), kernel);
}

TEST(KernelImage, UnpacksGzip) {
    const Bytes kernel = vmlinux();
    expect_unpacks(image_of(pack_gzip(kernel), kernel.size()), kernel);
}

TEST(KernelImage, UnpacksLz4OfSeveralBlocks) {
    Bytes kernel = vmlinux();
    kernel.resize((std::size_t{8} << 20U) + 5, std::byte{1});  // Linux's blocks are 8 MiB
    expect_unpacks(image_of(pack_lz4(kernel), kernel.size()), kernel);
}

TEST(KernelImage, SomethingElseIsNoKernel) {
    const std::string text(1000, 'x');
    const auto bytes = std::as_bytes(std::span(text));
    EXPECT_EQ(refusal(Bytes(bytes.begin(), bytes.end())),
              "not a kernel: neither a bzImage nor an ELF");
    EXPECT_EQ(refusal({}), "not a kernel: neither a bzImage nor an ELF");
}

TEST(KernelImage, TruncatedAnywhereIsAnError) {
    const Bytes kernel = vmlinux();
    const Bytes image = image_of(pack_zstd(kernel), kernel.size());
    for (std::size_t size = 0; size < image.size(); ++size) {
        const auto unpacked = unpack_kernel(std::span(image).first(size));
        ASSERT_FALSE(unpacked.has_value()) << size;
    }
    EXPECT_EQ(unpack_kernel(std::span(image).first(image.size() - 1)).error().code(),
              Code::DataLoss);
}

TEST(KernelImage, DamagedPayloadIsDataLoss) {
    const Bytes kernel = vmlinux();
    for (Bytes packed : {pack_zstd(kernel), pack_xz(kernel), pack_gzip(kernel), pack_lz4(kernel)}) {
        std::ranges::fill(std::span(packed).subspan(8), std::byte{0xff});
        EXPECT_EQ(unpack_kernel(image_of(packed, kernel.size())).error().code(), Code::DataLoss);
    }
}

TEST(KernelImage, SizeThatIsNotTrueIsAnError) {
    const Bytes kernel = vmlinux();
    EXPECT_FALSE(unpack_kernel(image_of(pack_zstd(kernel), kernel.size() - 1)).has_value());
    EXPECT_EQ(refusal(image_of(pack_zstd(kernel), kernel.size() + 1)),
              "kernel is damaged: it unpacks to less than it says");
}

TEST(KernelImage, SizeLimitIsHeldBeforeAnythingIsUnpacked) {
    const Bytes kernel = vmlinux();
    const std::size_t limit = kUnpackedKernelMax.value();
    EXPECT_EQ(unpack_kernel(image_of(pack_zstd(kernel), limit)).error().code(), Code::DataLoss);
    EXPECT_EQ(unpack_kernel(image_of(pack_zstd(kernel), limit + 1)).error().code(),
              Code::OutOfRange);
    EXPECT_EQ(unpack_kernel(image_of(pack_zstd(kernel), 0)).error().code(), Code::OutOfRange);
}

TEST(KernelImage, CompressionThatWeDoNotHaveIsNamed) {
    const Bytes bzip2 = {std::byte{'B'}, std::byte{'Z'}, std::byte{'h'}, std::byte{'9'}};
    EXPECT_EQ(refusal(image_of(bzip2, 1000)), "kernel is packed with bzip2");
    const Bytes unknown(100, std::byte{0x33});
    EXPECT_EQ(refusal(image_of(unknown, 1000)), "kernel is packed in a way that we do not know");
}

TEST(KernelImage, WhatIsPackedHasToBeAnElf) {
    const Bytes text(1000, std::byte{'x'});
    EXPECT_EQ(refusal(image_of(pack_zstd(text), text.size())),
              "not a kernel: what is packed in it is no ELF");
}

TEST(KernelImage, PayloadBeyondTheFileIsTruncation) {
    const Bytes kernel = vmlinux();
    Bytes image = image_of(pack_zstd(kernel), kernel.size());
    const std::uint32_t far = 0xffff'fff0;
    std::memcpy(image.data() + 0x248, &far, sizeof(far));
    EXPECT_EQ(unpack_kernel(image).error().code(), Code::DataLoss);
}

}  // namespace
}  // namespace pepita::vmm
