#include <gtest/gtest.h>

#include "runtime/bundle.h"
#include "test/support/golden.h"

namespace pepita::runtime {
namespace {

TEST(Features, AreGolden) {
    test::expect_golden("runtime/features.json", features_json("VERSION"));
}

}  // namespace
}  // namespace pepita::runtime
