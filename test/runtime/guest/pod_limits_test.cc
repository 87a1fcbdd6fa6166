#include "runtime/guest/pod_limits.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "kernel-abi/sys/error.h"
#include "runtime/container.h"

namespace pepita::runtime::guest {
namespace {

namespace fs = std::filesystem;

// A machine of four CPUs of which one is online.
class PodLimits : public testing::Test {
protected:
    PodLimits() {
        put(directory_ + "/memory.max", "max\n");
        for (const char* cpu : {"1", "2", "3"}) {
            put(online(cpu), "0\n");
        }
    }
    ~PodLimits() override { fs::remove_all(directory_); }
    PodLimits(const PodLimits&) = delete;
    PodLimits& operator=(const PodLimits&) = delete;

    static std::string make_directory() {
        std::string pattern = (fs::temp_directory_path() / "pepita-limits-XXXXXX").string();
        return ::mkdtemp(pattern.data());
    }
    std::string online(const std::string& cpu) const {
        return directory_ + "/devices/system/cpu/cpu" + cpu + "/online";
    }
    static void put(const std::string& file, const std::string& content) {
        fs::create_directories(fs::path(file).parent_path());
        std::ofstream(file) << content;
    }
    static std::string get(const std::string& file) {
        std::ifstream in(file);
        return {std::istreambuf_iterator<char>(in), {}};
    }
    std::string cpus() const {
        return get(online("1")).substr(0, 1) + get(online("2")).substr(0, 1) +
               get(online("3")).substr(0, 1);
    }
    Result<void> limit(const ResourcesSpec& limits) const {
        return limit_pod(limits, directory_, directory_);
    }

    std::string directory_ = make_directory();
};

TEST_F(PodLimits, MemoryIsThatOfTheCgroup) {
    ASSERT_TRUE(limit({.memory_limit_bytes = 1 << 30}).has_value());
    EXPECT_EQ(get(directory_ + "/memory.max"), "1073741824");
    EXPECT_EQ(cpus(), "000");
}

TEST_F(PodLimits, AsManyCpusAreOnlineAsTheQuotaNeeds) {
    ASSERT_TRUE(limit({.cpu_quota_us = 250'000, .cpu_period_us = 100'000}).has_value());
    EXPECT_EQ(cpus(), "110");
    ASSERT_TRUE(limit({.cpu_quota_us = 400'000}).has_value());
    EXPECT_EQ(cpus(), "111");
    ASSERT_TRUE(limit({.cpu_quota_us = 100'001}).has_value());
    EXPECT_EQ(cpus(), "100");
    ASSERT_TRUE(limit({.cpu_quota_us = 1}).has_value());
    EXPECT_EQ(cpus(), "000");
    EXPECT_EQ(get(directory_ + "/memory.max"), "max\n");
}

TEST_F(PodLimits, MoreCpusThanTheMachineHasAreRefused) {
    const auto refused = limit({.cpu_quota_us = 500'000});
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code(), Code::OutOfRange);
    EXPECT_EQ(refused.error().message(), "5 CPUs: the machine has 4");
}

TEST_F(PodLimits, AGuestWithoutTheControllerSaysSo) {
    fs::remove(directory_ + "/memory.max");
    EXPECT_TRUE(limit({.memory_limit_bytes = 1 << 20})
                    .error()
                    .message()
                    .starts_with("limit the pod's memory: "));
}

}  // namespace
}  // namespace pepita::runtime::guest
