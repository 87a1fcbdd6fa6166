#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "storage/api/storage_api.h"
#include "test/support/fake_storage_service.h"
#include "test/support/golden.h"

namespace pepita::storage::api {
namespace {

TEST(StorageJson, VolumesAndStatisticsAreGolden) {
    test::expect_golden("storage/list.json", to_json(test::full_volumes()));
    test::expect_golden("storage/stats.json", to_json(test::full_stats()));
}

TEST(StorageJson, TheStateComesBackWithoutItsPages) {
    std::vector<VolumeInfo> volumes = test::full_volumes();
    const Result<std::vector<VolumeInfo>> read = parse_storage_state(storage_state_text(volumes));
    for (VolumeInfo& info : volumes) {
        info.pages = {};
    }
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(*read, volumes);
}

TEST(StorageJson, NoVolumesAreAStateToo) {
    EXPECT_EQ(parse_storage_state(storage_state_text({})).value().size(), 0U);
}

class StorageState : public testing::TestWithParam<const char*> {};

TEST_P(StorageState, ThatIsNotOursIsDataLoss) {
    const Result<std::vector<VolumeInfo>> read = parse_storage_state(GetParam());
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code(), Code::DataLoss);
}

INSTANTIATE_TEST_SUITE_P(
    Foreign, StorageState,
    testing::Values(
        "", "[]", "{\"version\": 1}", "{\"version\": 2, \"volumes\": []}",
        R"({"version":1,"volumes":[{"name":"../x","kind":"zram","capacityBytes":1,"domain":"d"}]})",
        R"({"version":1,"volumes":[{"name":"x","kind":"tape","capacityBytes":1,"domain":"d"}]})",
        R"({"version":1,"volumes":[{"name":"x","kind":"zram","capacityBytes":-1,"domain":"d"}]})",
        R"({"version":1,"volumes":[{"name":"x","kind":"zram","capacityBytes":1,"domain":"d",
            "attachment":{"frontEnd":"nbd","path":"","queues":1,"depth":1,"readOnly":true}}]})"));

}  // namespace
}  // namespace pepita::storage::api
