#include "kernel-abi/abi/btf.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "test/support/btf_builder.h"

namespace pepita::btf {
namespace {

using test::BtfBuilder;
using Kind = BtfBuilder::Kind;
using Place = Types::Place;

Result<Types> parse(const std::string& bytes, const Types* base = nullptr) {
    return Types::parse(std::as_bytes(std::span(bytes)), base);
}

TEST(Btf, MembersAreFoundWhereTheyLie) {
    BtfBuilder builder;
    const auto u32 = builder.integer("unsigned int", 4);
    const auto name = builder.other(Kind::Typedef, "__u32", builder.other(Kind::Const, "", u32));
    const auto pointer = builder.other(Kind::Pointer, "", u32);
    const auto inner =
        builder.structure("", 12, {{"x", name, 0}, {"y", builder.array(u32, 2), 32}}, Kind::Union);
    builder.structure("thing", 64,
                      {{"a", name, 0}, {"", inner, 64}, {"in", inner, 256}, {"p", pointer, 384}});
    const std::string bytes = builder.finish();
    const auto types = parse(bytes);
    ASSERT_TRUE(types.has_value()) << types.error().message();
    const auto thing = types->find("thing");
    ASSERT_TRUE(thing.has_value());
    EXPECT_EQ(types->size_of(*thing).value(), 64U);
    EXPECT_EQ(types->place_of(*thing, "a").value(), (Place{.offset_bits = 0, .size_bits = 32}));
    EXPECT_EQ(types->place_of(*thing, "x").value(), (Place{.offset_bits = 64, .size_bits = 32}));
    EXPECT_EQ(types->place_of(*thing, "y").value(), (Place{.offset_bits = 96, .size_bits = 64}));
    EXPECT_EQ(types->place_of(*thing, "in.y").value(),
              (Place{.offset_bits = 288, .size_bits = 64}));
    EXPECT_EQ(types->place_of(*thing, "p").value(), (Place{.offset_bits = 384, .size_bits = 64}));
    for (const char* missing : {"z", "in.z", "a.b", "in.", ""}) {
        EXPECT_EQ(types->place_of(*thing, missing).error().code(), Code::NotFound) << missing;
    }
    EXPECT_FALSE(types->find("other").has_value());
}

TEST(Btf, BitFieldsHaveBits) {
    BtfBuilder builder;
    const auto u32 = builder.integer("u32", 4);
    builder.structure("flags", 4, {{"low", u32, 0, 3}, {"high", u32, 3, 29}});
    const std::string bytes = builder.finish();
    const auto types = parse(bytes).value();
    const auto id = types.find("flags").value();
    EXPECT_EQ(types.place_of(id, "high").value(), (Place{.offset_bits = 3, .size_bits = 29}));
}

TEST(Btf, EnumeratorsHaveTheirSign) {
    BtfBuilder builder;
    builder.enumeration("MINUS", 0xffff'ffff, true);
    builder.enumeration("PLUS", 0xffff'ffff, false);
    builder.enumeration64("WIDE", 0x1234'5678'9abc'def0);
    const std::string bytes = builder.finish();
    const auto types = parse(bytes).value();
    EXPECT_EQ(types.value_of("MINUS"), static_cast<std::uint64_t>(-1));
    EXPECT_EQ(types.value_of("PLUS"), 0xffff'ffffU);
    EXPECT_EQ(types.value_of("WIDE"), 0x1234'5678'9abc'def0U);
    EXPECT_EQ(types.value_of("NONE"), std::nullopt);
}

TEST(Btf, AModuleGoesOnFromItsKernel) {
    BtfBuilder kernel;
    const auto u64 = kernel.integer("u64", 8);
    const auto outer = kernel.structure("outer", 8, {{"one", u64, 0}});
    kernel.enumeration("OF_KERNEL", 7, false);
    const std::string kernel_bytes = kernel.finish();
    const auto base = parse(kernel_bytes).value();
    BtfBuilder module(kernel.next_id(), kernel.next_string());
    module.structure("mine", 16, {{"", outer, 0}, {"two", u64, 64}});
    const std::string module_bytes = module.finish();
    const auto types = parse(module_bytes, &base);
    ASSERT_TRUE(types.has_value()) << types.error().message();
    const auto mine = types->find("mine").value();
    EXPECT_EQ(types->place_of(mine, "one").value(), (Place{.offset_bits = 0, .size_bits = 64}));
    EXPECT_EQ(types->place_of(mine, "two").value(), (Place{.offset_bits = 64, .size_bits = 64}));
    EXPECT_EQ(types->size_of(types->find("outer").value()).value(), 8U);
    EXPECT_EQ(types->value_of("OF_KERNEL"), 7U);
    EXPECT_EQ(types->own_value_of("OF_KERNEL"), std::nullopt);
    EXPECT_FALSE(base.find("mine").has_value());
}

TEST(Btf, WhatIsCutOffIsRefused) {
    BtfBuilder builder;
    builder.structure("thing", 4, {{"a", builder.integer("u32", 4), 0}});
    const std::string whole = builder.finish();
    for (std::size_t size = 0; size < whole.size(); ++size) {
        const auto types = parse(whole.substr(0, size));
        ASSERT_FALSE(types.has_value()) << size;
        EXPECT_EQ(types.error().code(), Code::DataLoss);
    }
    EXPECT_TRUE(parse(whole).has_value());
}

TEST(Btf, WhatItDoesNotKnowIsRefused) {
    BtfBuilder builder;
    builder.other(static_cast<Kind>(20), "", 0);
    EXPECT_EQ(parse(builder.finish()).error().message(), "BTF: a type of the unknown kind 20");
    std::string bytes = BtfBuilder().finish();
    bytes[0] = 0;
    EXPECT_EQ(parse(bytes).error().message(), "BTF: it does not begin with 0xeb9f");
    bytes = BtfBuilder().finish();
    bytes[2] = 2;
    EXPECT_EQ(parse(bytes).error().message(), "BTF: version 2 with a header of 24 B");
}

TEST(Btf, TypesMadeOfThemselvesEnd) {
    BtfBuilder builder;
    builder.structure("self", 4, {{"", 1, 0}, {"round", 2, 0}, {"row", 3, 0}, {"none", 99, 0}});
    builder.other(Kind::Typedef, "round", 2);
    builder.array(3, 2);
    // Sixteen ways at each of many levels.
    std::vector<BtfBuilder::Member> members(16, {"", 4, 0});
    builder.structure("wide", 4, members);
    builder.array(1, 0xffff'ffff);
    builder.structure("huge", 4, {{"row", 5, 0}});
    const std::string bytes = builder.finish();
    const auto types = parse(bytes).value();
    const auto self = types.find("self").value();
    EXPECT_EQ(types.place_of(self, "round").error().code(), Code::DataLoss);
    EXPECT_EQ(types.place_of(self, "row").error().code(), Code::DataLoss);
    EXPECT_EQ(types.place_of(self, "none").error().code(), Code::DataLoss);
    EXPECT_EQ(types.place_of(self, "missing").error().code(), Code::NotFound);
    EXPECT_EQ(types.place_of(types.find("wide").value(), "x").error().code(), Code::DataLoss);
    EXPECT_EQ(types.place_of(types.find("huge").value(), "row").error().code(), Code::DataLoss);
    EXPECT_EQ(types.size_of(2).error().code(), Code::DataLoss);
    EXPECT_EQ(types.size_of(99).error().code(), Code::DataLoss);
}

}  // namespace
}  // namespace pepita::btf
