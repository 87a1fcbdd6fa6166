#include "test/support/golden.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // secure_getenv

#include <fstream>
#include <iterator>
#include <string>
#include <string_view>

namespace pepita::test {

void expect_golden(std::string_view name, const std::string& text) {
    const std::string path = std::string(PEPITA_SOURCE_ROOT "/test/golden/") + std::string(name);
    if (::secure_getenv("PEPITA_UPDATE_GOLDEN") != nullptr) {
        std::ofstream(path, std::ios::binary) << text;
        return;
    }
    std::ifstream file(path, std::ios::binary);
    ASSERT_TRUE(file.good()) << path << " is missing; PEPITA_UPDATE_GOLDEN=1 writes it";
    const std::string golden(std::istreambuf_iterator<char>(file), {});
    EXPECT_EQ(text, golden) << "differs from " << path;
}

}  // namespace pepita::test
