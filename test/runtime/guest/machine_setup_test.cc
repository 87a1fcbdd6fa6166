#include "runtime/guest/machine_setup.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernel-abi/sys/error.h"

namespace pepita::runtime::guest {
namespace {

TEST(LoadModules, AMissingListIsAnErrorAndAMissingModuleIsNot) {
    std::string list = "/tmp/pepita-modules-XXXXXX";
    const int file = ::mkstemp(list.data());
    ASSERT_GE(file, 0);
    ASSERT_EQ(::close(file), 0);
    std::ofstream(list) << "\n/nowhere/absent.ko\n";
    EXPECT_TRUE(load_modules(list).has_value());
    std::filesystem::remove(list);
    EXPECT_EQ(load_modules(list).error().code(), Code::NotFound);
}

}  // namespace
}  // namespace pepita::runtime::guest
