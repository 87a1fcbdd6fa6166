#include "vmm/host/kernel_cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/file.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "test/support/bzimage.h"
#include "test/support/tiny_guest.h"

namespace pepita::vmm {
namespace {

namespace fs = std::filesystem;
using Content = std::vector<std::byte>;

class KernelCacheTest : public testing::Test {
protected:
    KernelCacheTest() {
        kernel_ = tiny::kernel_bytes(tiny::power_off());
        kernel_.resize(50'000, std::byte{0x90});
        write(image_, bzimage(pack_zstd(kernel_), static_cast<std::uint32_t>(kernel_.size())));
    }
    ~KernelCacheTest() override { fs::remove_all(directory_); }
    KernelCacheTest(const KernelCacheTest&) = delete;
    KernelCacheTest& operator=(const KernelCacheTest&) = delete;

    static std::string make_directory() {
        std::string pattern = (fs::temp_directory_path() / "pepita-kernel-XXXXXX").string();
        return ::mkdtemp(pattern.data());
    }

    static void write(const std::string& path, const Content& content) {
        std::ofstream file(path, std::ios::binary);
        file.write(reinterpret_cast<const char*>(content.data()),
                   static_cast<std::streamsize>(content.size()));
    }

    /// Whether `file` begins with the kernel.
    bool holds_kernel(const Fd& file) const {
        Content content(kernel_.size());
        return read_exactly(file.ref(), content, 0).has_value() && content == kernel_;
    }

    std::vector<fs::path> cached() const {
        std::vector<fs::path> files;
        if (fs::exists(cache_)) {
            for (const auto& entry : fs::directory_iterator(cache_)) {
                files.push_back(entry.path());
            }
        }
        return files;
    }

    std::string directory_ = make_directory();
    std::string image_ = directory_ + "/vmlinuz";
    std::string cache_ = directory_ + "/cache";
    Content kernel_;
};

TEST_F(KernelCacheTest, UnpacksOnceAndKeepsIt) {
    const auto first = open_vmlinux(image_, cache_);
    ASSERT_TRUE(first.has_value()) << first.error().message();
    EXPECT_TRUE(holds_kernel(*first));
    ASSERT_EQ(cached().size(), 1U);
    const auto written = fs::last_write_time(cached()[0]);
    const auto second = open_vmlinux(image_, cache_);
    ASSERT_TRUE(second.has_value());
    EXPECT_TRUE(holds_kernel(*second));
    ASSERT_EQ(cached().size(), 1U);
    EXPECT_EQ(fs::last_write_time(cached()[0]), written);
}

TEST_F(KernelCacheTest, EmptyCopyIsMadeAnew) {
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    fs::resize_file(cached()[0], 0);
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_TRUE(holds_kernel(*kernel));
}

TEST_F(KernelCacheTest, NothingIsReadOnceItIsThere) {
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    // Neither the image nor the copy is what it was: only their names are looked at.
    const Content other(64, std::byte{'x'});
    write(cached()[0], other);
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_EQ(file_size(kernel->ref()).value(), Bytes(other.size()));
}

TEST_F(KernelCacheTest, AKernelWrittenInPlaceIsUnpackedAgain) {
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    const fs::path first = cached()[0];
    kernel_.back() = std::byte{0x91};
    write(image_, bzimage(pack_zstd(kernel_), static_cast<std::uint32_t>(kernel_.size())));
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_TRUE(holds_kernel(*kernel));
    ASSERT_EQ(cached().size(), 1U);
    EXPECT_NE(cached()[0], first);
}

TEST_F(KernelCacheTest, AReplacedKernelOfEqualSizeAndTimeIsAnother) {
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    const auto time = fs::last_write_time(image_);
    kernel_.back() = std::byte{0x91};
    const std::string next = image_ + ".next";
    write(next, bzimage(pack_zstd(kernel_), static_cast<std::uint32_t>(kernel_.size())));
    fs::last_write_time(next, time);
    fs::rename(next, image_);
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_TRUE(holds_kernel(*kernel));
    EXPECT_EQ(cached().size(), 1U);
}

TEST_F(KernelCacheTest, AMachineThatRunsKeepsItsKernel) {
    const auto running = open_vmlinux(image_, cache_);
    ASSERT_TRUE(running.has_value());
    write(image_, bzimage(pack_zstd(Content(kernel_.begin(), kernel_.end() - 1)),
                          static_cast<std::uint32_t>(kernel_.size() - 1)));
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    EXPECT_TRUE(holds_kernel(*running));
}

TEST_F(KernelCacheTest, ACacheThatOthersMayWriteToIsRefused) {
    ASSERT_TRUE(fs::create_directory(cache_));
    for (const fs::perms others : {fs::perms::group_write, fs::perms::others_write}) {
        fs::permissions(cache_, fs::perms::owner_all | others);
        EXPECT_EQ(open_vmlinux(image_, cache_).error().code(), Code::PermissionDenied);
    }
    EXPECT_TRUE(cached().empty());
    fs::remove(cache_);
    fs::create_directory_symlink(directory_, cache_);
    EXPECT_FALSE(open_vmlinux(image_, cache_).has_value());
}

TEST_F(KernelCacheTest, ACopyThatOthersMayWriteToIsMadeAnew) {
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    write(cached()[0], Content(64, std::byte{'x'}));
    fs::permissions(cached()[0], fs::perms::all);
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_TRUE(holds_kernel(*kernel));
}

TEST_F(KernelCacheTest, ManyAtOnceAllGetTheKernel) {
    std::vector<Result<Fd>> kernels;
    {
        std::vector<std::jthread> threads;
        std::mutex mutex;
        for (int i = 0; i < 8; ++i) {
            threads.emplace_back([&] {
                Result<Fd> kernel = open_vmlinux(image_, cache_);
                const std::scoped_lock lock(mutex);
                kernels.push_back(std::move(kernel));
            });
        }
    }
    for (const Result<Fd>& kernel : kernels) {
        ASSERT_TRUE(kernel.has_value()) << kernel.error().message();
        EXPECT_TRUE(holds_kernel(*kernel));
    }
    EXPECT_EQ(cached().size(), 1U);
}

TEST_F(KernelCacheTest, WhatAnEarlierVersionKeptIsRemoved) {
    ASSERT_TRUE(fs::create_directory(cache_));
    fs::permissions(cache_, fs::perms::owner_all);
    write(cache_ + "/0123abcd.vmlinux", kernel_);
    write(cache_ + "/0123abcd.vmlinux.x7Yz12", kernel_);
    ASSERT_TRUE(open_vmlinux(image_, cache_).has_value());
    EXPECT_EQ(cached().size(), 1U);
}

TEST_F(KernelCacheTest, AnElfIsUsedAsItIs) {
    write(image_, kernel_);
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_TRUE(kernel.has_value());
    EXPECT_TRUE(holds_kernel(*kernel));
    EXPECT_FALSE(fs::exists(cache_));
}

TEST_F(KernelCacheTest, FullDiskLeavesNothingBehind) {
    const rlimit small = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = ::signal(SIGXFSZ, SIG_IGN);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    const auto kernel = open_vmlinux(image_, cache_);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)::signal(SIGXFSZ, handler);
    EXPECT_EQ(kernel.error().message(), "write 'the kernel cache': File too large (EFBIG)");
    EXPECT_TRUE(cached().empty());
}

TEST_F(KernelCacheTest, MissingKernelIsNotFound) {
    EXPECT_EQ(open_vmlinux(directory_ + "/none", cache_).error().code(), Code::NotFound);
}

TEST_F(KernelCacheTest, DirectoryAndFifoAreNoKernels) {
    EXPECT_EQ(open_vmlinux(directory_, cache_).error().message(), "not a regular file");
    const std::string fifo = directory_ + "/fifo";
    ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
    EXPECT_EQ(open_vmlinux(fifo, cache_).error().message(), "not a regular file");
}

TEST_F(KernelCacheTest, EmptyAndForeignFilesAreNoKernels) {
    write(image_, {});
    EXPECT_EQ(open_vmlinux(image_, cache_).error().code(), Code::InvalidArgument);
    write(image_, Content(5000, std::byte{'x'}));
    EXPECT_EQ(open_vmlinux(image_, cache_).error().message(),
              "not a kernel: neither a bzImage nor an ELF");
    EXPECT_TRUE(cached().empty());
}

}  // namespace
}  // namespace pepita::vmm
