#include "cri/spec/capabilities.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"
#include "test/cri/spec/spec_fixture.h"

namespace pepita {
namespace {

constexpr std::uint64_t kChown = 1U << 0U;
constexpr std::uint64_t kNetAdmin = 1U << 12U;
constexpr std::uint64_t kSysAdmin = 1U << 21U;
constexpr std::uint64_t kAll = (std::uint64_t{1} << 41U) - 1;
constexpr int kUsualCount = 14;

class CapabilitiesOfContainer : public test::ContainerSpecTest {
protected:
    runtime::Capabilities capabilities() const {
        return bundle().container.process.capabilities.value_or(runtime::Capabilities());
    }
    cri::v1::Capability& asked() { return *security().mutable_capabilities(); }
};

TEST_F(CapabilitiesOfContainer, AreTheUsualAndNotInherited) {
    const runtime::Capabilities sets = capabilities();
    EXPECT_EQ(std::popcount(sets.bounding), kUsualCount);
    EXPECT_EQ(sets.bounding & (kChown | kNetAdmin), kChown);
    EXPECT_EQ(sets.effective, sets.bounding);
    EXPECT_EQ(sets.permitted, sets.bounding);
    EXPECT_EQ(sets.inheritable, 0U);
    EXPECT_EQ(sets.ambient, 0U);
}

TEST_F(CapabilitiesOfContainer, AreAddedAndDropped) {
    asked().add_add_capabilities("NET_ADMIN");
    asked().add_add_capabilities("cap_sys_admin");
    asked().add_drop_capabilities("CHOWN");
    EXPECT_EQ(capabilities().effective & (kChown | kNetAdmin | kSysAdmin), kNetAdmin | kSysAdmin);
}

TEST_F(CapabilitiesOfContainer, AllButOne) {
    asked().add_add_capabilities("ALL");
    asked().add_drop_capabilities("SYS_ADMIN");
    EXPECT_EQ(capabilities().bounding, kAll & ~kSysAdmin);
}

TEST_F(CapabilitiesOfContainer, NoneButOne) {
    asked().add_drop_capabilities("all");
    asked().add_add_capabilities("NET_ADMIN");
    EXPECT_EQ(capabilities().bounding, kNetAdmin);
}

TEST_F(CapabilitiesOfContainer, AmbientOnesAreInAllSets) {
    asked().add_add_ambient_capabilities("NET_ADMIN");
    const runtime::Capabilities sets = capabilities();
    EXPECT_EQ(sets.ambient, kNetAdmin);
    EXPECT_EQ(sets.inheritable, kNetAdmin);
    EXPECT_EQ(sets.permitted & kNetAdmin, kNetAdmin);
}

TEST_F(CapabilitiesOfContainer, OfAPrivilegedOneAreAll) {
    security().set_privileged(true);
    asked().add_drop_capabilities("ALL");
    EXPECT_EQ(capabilities().effective, kAll);
}

TEST_F(CapabilitiesOfContainer, UnknownNameIsNamed) {
    asked().add_drop_capabilities("CHOWN");
    asked().add_drop_capabilities("FLY");
    EXPECT_EQ(refusal(),
              (Refusal{.code = Code::InvalidArgument,
                       .message = "linux.security_context.capabilities.drop_capabilities[1]: no "
                                  "such capability: 'FLY'"}));
}

}  // namespace
}  // namespace pepita
