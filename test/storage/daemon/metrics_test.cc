#include "storage/daemon/metrics.h"

#include <gtest/gtest.h>

#include "test/support/fake_storage_service.h"
#include "test/support/golden.h"

namespace pepita::storage::daemon {
namespace {

TEST(Metrics, AreGolden) {
    test::expect_golden("storage/metrics.prom",
                        prometheus_text(test::full_stats(), test::full_volumes()));
}

TEST(Metrics, WithoutVolumesHaveTheStoresOnly) {
    const std::string text = prometheus_text({}, {});
    EXPECT_NE(text.find("\npepita_storage_used_bytes 0\n"), std::string::npos);
    EXPECT_EQ(text.find('{'), std::string::npos);
}

}  // namespace
}  // namespace pepita::storage::daemon
