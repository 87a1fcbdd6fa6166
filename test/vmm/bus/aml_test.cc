#include "vmm/bus/aml.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <initializer_list>
#include <vector>

namespace pepita::vmm {
namespace {

aml::Term bytes(std::initializer_list<unsigned> values) {
    aml::Term term;
    for (const unsigned value : values) {
        term.push_back(static_cast<std::byte>(value));
    }
    return term;
}

// acpi_test has the disassembler's opinion of all of it; here is what it never gets to see.

TEST(Aml, IntegersTakeTheShortestForm) {
    EXPECT_EQ(aml::integer(0), bytes({0x00}));
    EXPECT_EQ(aml::integer(1), bytes({0x01}));
    EXPECT_EQ(aml::integer(2), bytes({0x0a, 2}));
    EXPECT_EQ(aml::integer(0x100), bytes({0x0b, 0, 1}));
    EXPECT_EQ(aml::integer(0x1'0000), bytes({0x0c, 0, 0, 1, 0}));
    EXPECT_EQ(aml::integer(0x1'0000'0000), bytes({0x0e, 0, 0, 0, 0, 1, 0, 0, 0}));
}

TEST(Aml, NamesArePaddedAndPathsCounted) {
    const aml::Term one = aml::integer(1);
    EXPECT_EQ(aml::name("_S5", one), bytes({0x08, '_', 'S', '5', '_', 1}));
    EXPECT_EQ(aml::name("\\A", one), bytes({0x08, '\\', 'A', '_', '_', '_', 1}));
    EXPECT_EQ(aml::name("A.BC", one),
              bytes({0x08, 0x2e, 'A', '_', '_', '_', 'B', 'C', '_', '_', 1}));
    EXPECT_EQ(aml::name("A.B.C", one)[2], std::byte{3});
}

/// A buffer whose whole package is `size` bytes long, without its opcode.
aml::Term package_of(std::size_t size) {
    return aml::scope("ABCD", {aml::Term(size, std::byte{0})});
}

// ACPI 6.5 §20.2.4: at 63 the length no longer fits into six bits, at 4095 not into twelve.
TEST(Aml, LengthGrowsWithWhatItCounts) {
    EXPECT_EQ(package_of(58)[1], std::byte{63});
    const aml::Term two = package_of(59);
    EXPECT_EQ(two[1], std::byte{0x41});  // one more byte; low four bits of 65
    EXPECT_EQ(two[2], std::byte{0x04});
    EXPECT_EQ(package_of(4089)[1], std::byte{0x4f});  // 4095
    const aml::Term three = package_of(4090);
    EXPECT_EQ(three[1], std::byte{0x81});  // 4097
    EXPECT_EQ(three[2], std::byte{0x00});
    EXPECT_EQ(three[3], std::byte{0x01});
}

TEST(Aml, EisaIdIsCompressed) {
    EXPECT_EQ(aml::eisa_id("PNP0A08"), bytes({0x0c, 0x41, 0xd0, 0x0a, 0x08}));
}

}  // namespace
}  // namespace pepita::vmm
