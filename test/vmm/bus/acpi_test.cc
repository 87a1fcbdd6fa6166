#include "vmm/bus/acpi.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <span>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/uapi/acpi.h"
#include "kernel-abi/virtio/guest_memory.h"
#include "vmm/boot/layout.h"

namespace pepita::vmm {
namespace {

namespace acpi = abi::acpi;
namespace fs = std::filesystem;

constexpr virtio::GuestAddress kAt{0xe0000};

template <typename T>
T read_at(std::span<const std::byte> bytes, std::size_t offset) {
    T value{};
    std::memcpy(&value, bytes.subspan(offset, sizeof(T)).data(), sizeof(T));
    return value;
}

unsigned sum(std::span<const std::byte> bytes) {
    unsigned total = 0;
    for (const std::byte b : bytes) {
        total += std::to_integer<unsigned>(b);
    }
    return total & 0xffU;
}

/// The tables by signature, found as a guest finds them: from the RSDP on.
class Tables {
public:
    explicit Tables(const AcpiOptions& options) : bytes_(acpi_tables(kAt, options)) {
        const auto root = read_at<acpi::Rsdp>(bytes_, 0);
        const auto xsdt = table(root.xsdt);
        for (std::size_t at = sizeof(acpi::Header); at < xsdt.size(); at += 8) {
            add(read_at<std::uint64_t>(xsdt, at));
        }
        add(read_at<acpi::Fadt>(found_["FACP"], 0).x_dsdt);
    }
    std::span<const std::byte> bytes() const { return bytes_; }
    std::span<const std::byte> operator[](const std::string& signature) const {
        return found_.at(signature);
    }
    const std::map<std::string, std::span<const std::byte>>& all() const { return found_; }

private:
    std::span<const std::byte> table(std::uint64_t address) const {
        const std::size_t at = address - std::to_underlying(kAt);
        return std::span(bytes_).subspan(at, read_at<acpi::Header>(bytes_, at).length);
    }
    void add(std::uint64_t address) {
        const auto bytes = table(address);
        const auto header = read_at<acpi::Header>(bytes, 0);
        found_[std::string(header.signature.data(), 4)] = bytes;
    }

    std::vector<std::byte> bytes_;
    std::map<std::string, std::span<const std::byte>> found_;
};

TEST(Acpi, RootIsFoundAndSummed) {
    const Tables tables({.vcpus = 1});
    const auto root = read_at<acpi::Rsdp>(tables.bytes(), 0);
    EXPECT_EQ(std::string(root.signature.data(), 8), "RSD PTR ");
    EXPECT_EQ(root.revision, 2);
    EXPECT_EQ(sum(tables.bytes().first(20)), 0U);
    EXPECT_EQ(sum(tables.bytes().first(36)), 0U);
}

TEST(Acpi, EveryTableAddsUpToZero) {
    const Tables tables({.vcpus = 8, .has_serial = true});
    ASSERT_EQ(tables.all().size(), 4U);
    for (const auto& [signature, bytes] : tables.all()) {
        EXPECT_EQ(sum(bytes), 0U) << signature;
    }
}

TEST(Acpi, HardwareIsReducedAndEndsThroughOurPorts) {
    const Tables tables({.vcpus = 1});
    const auto fadt = read_at<acpi::Fadt>(tables["FACP"], 0);
    EXPECT_NE(fadt.flags & acpi::kFadtHardwareReduced, 0U);
    EXPECT_NE(fadt.flags & acpi::kFadtResetRegister, 0U);
    EXPECT_EQ(+fadt.reset_register.address, layout::kResetPort);
    EXPECT_EQ(+fadt.reset_value, layout::kResetValue);
    EXPECT_EQ(+fadt.sleep_control.address, layout::kSleepControlPort);
    EXPECT_EQ(+fadt.sleep_status.address, layout::kSleepStatusPort);
    EXPECT_EQ(fadt.boot_architecture & 0x2U, 0U);  // no 8042
}

TEST(Acpi, EveryProcessorHasItsLocalApic) {
    const Tables tables({.vcpus = 3});
    const auto madt = tables["APIC"];
    ASSERT_EQ(madt.size(), sizeof(acpi::Madt) + (3 * 8) + 12);
    EXPECT_EQ(read_at<acpi::Madt>(madt, 0).flags, 0U);  // no 8259
    const auto last = read_at<acpi::MadtLocalApic>(madt, sizeof(acpi::Madt) + 16);
    EXPECT_EQ(last.apic_id, 2);
    EXPECT_EQ(last.flags, 1U);
    const auto ioapic = read_at<acpi::MadtIoapic>(madt, sizeof(acpi::Madt) + 24);
    EXPECT_EQ(ioapic.type, 1);
    EXPECT_EQ(ioapic.address, layout::kIoapicStart);
}

TEST(Acpi, ConfigurationSpaceIsBusZeroAlone) {
    const Tables tables({.vcpus = 1});
    const auto mcfg = read_at<acpi::Mcfg>(tables["MCFG"], 0);
    EXPECT_EQ(+mcfg.base, layout::kEcamStart);
    EXPECT_EQ(+mcfg.first_bus, 0);
    EXPECT_EQ(+mcfg.last_bus, 0);
}

/// The DSDT as ACPICA's disassembler reads it: an opinion that is not ours.
class DisassembledDsdt : public testing::Test {
protected:
    void SetUp() override {
        if (::access("/usr/bin/iasl", X_OK) != 0) {
            GTEST_SKIP() << "iasl is not installed (acpica-tools)";
        }
        std::string pattern = (fs::temp_directory_path() / "pepita-acpi-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
    }
    void TearDown() override {
        if (!directory_.empty()) {
            fs::remove_all(directory_);
        }
    }
    std::string disassemble(const AcpiOptions& options) const {
        const Tables tables(options);
        const auto dsdt = tables["DSDT"];
        std::ofstream(directory_ / "dsdt.aml", std::ios::binary)
            .write(reinterpret_cast<const char*>(dsdt.data()),
                   static_cast<std::streamsize>(dsdt.size()));
        const pid_t pid = ::fork();
        if (pid == 0) {
            const fs::path log = directory_ / "log";
            (void)!::freopen(log.c_str(), "w", stdout);
            (void)::dup2(STDOUT_FILENO, STDERR_FILENO);
            const fs::path table = directory_ / "dsdt.aml";
            ::execl("/usr/bin/iasl", "iasl", "-d", table.c_str(), nullptr);
            ::_exit(127);
        }
        int status = 0;
        EXPECT_EQ(::waitpid(pid, &status, 0), pid);
        EXPECT_EQ(status, 0) << text_of("log");
        return text_of("dsdt.dsl");
    }
    std::string text_of(const char* name) const {
        std::ostringstream text;
        text << std::ifstream(directory_ / name).rdbuf();
        return text.str();
    }

    fs::path directory_;
};

TEST_F(DisassembledDsdt, SaysWhatWeMeant) {
    const std::string text = disassemble({.vcpus = 1, .has_serial = true});
    for (const char* expected : {
             "Name (_HID, EisaId (\"PNP0A08\")",
             R"(ToUUID ("e5c937d0-3553-4d7a-9117-ea4d19c3434d"))",
             "0x0000002000000000, // Range Minimum",
             "0x000000203FFFFFFF, // Range Maximum",
             "0xC0000000,         // Range Minimum",
             "Name (_HID, EisaId (\"PNP0501\")",
             "Interrupt (ResourceConsumer, Edge, ActiveHigh, Exclusive, ,, )",
             R"(Name (_HID, "QEMU0001"))",
             "0x0505,             // Range Minimum",
             "Name (\\_S5, Package (0x01)",
         }) {
        EXPECT_NE(text.find(expected), std::string::npos) << expected << "\n" << text;
    }
}

TEST_F(DisassembledDsdt, WithoutConsoleThereIsNoSerialPort) {
    EXPECT_EQ(disassemble({.vcpus = 1}).find("PNP0501"), std::string::npos);
}

}  // namespace
}  // namespace pepita::vmm
