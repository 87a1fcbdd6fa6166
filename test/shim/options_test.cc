#include "shim/options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "shim/isolation.h"

namespace pepita::shim {
namespace {

Result<Options> parse(std::vector<std::string> words) {
    std::vector<char*> arguments;
    for (std::string& word : words) {
        arguments.push_back(word.data());
    }
    return parse_options(arguments);
}

std::string error_of(const std::vector<std::string>& words) {
    const auto options = parse(words);
    return options ? "" : options.error().message();
}

TEST(ShimOptions, TakesWhatPepitaRunGives) {
    const auto options =
        parse({"--id", "web", "--isolation", "tcg", "--memory-mib", "64", "--vcpus", "8",
               "--scratch-mib", "16", "--channel-fd", "3", "--log-format", "json"});
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(options->id, "web");
    EXPECT_EQ(options->isolation, IsolationChoice::Tcg);
    EXPECT_EQ(options->memory, 64_MiB);
    EXPECT_EQ(options->vcpus, 8U);
    EXPECT_EQ(options->scratch, 16_MiB);
    EXPECT_EQ(options->channel_fd, 3);
    EXPECT_TRUE(options->logs_json);
}

TEST(ShimOptions, NoScratchDiskIsZero) {
    const auto options = parse({"--id", "web", "--channel-fd", "3", "--scratch-mib", "0"});
    ASSERT_TRUE(options.has_value());
    EXPECT_EQ(options->scratch, Bytes(0));
}

TEST(ShimOptions, NamesWhatIsWrong) {
    EXPECT_EQ(error_of({"--id", "web"}), "--id and --channel-fd are required");
    EXPECT_EQ(error_of({"--id"}), "option '--id' needs a value");
    EXPECT_EQ(error_of({"--colour", "red"}), "unknown option '--colour'");
    EXPECT_EQ(error_of({"--isolation", "process"}),
              "--isolation 'process': must be auto, kvm or tcg");
    EXPECT_EQ(error_of({"--vcpus", "9"}), "--vcpus '9': must be a number from 1 to 8");
    EXPECT_EQ(error_of({"--vcpus", "0"}), "--vcpus '0': must be a number from 1 to 8");
    EXPECT_EQ(error_of({"--scratch-mib", "15"}),
              "--scratch-mib '15': must be a number from 16 to 65536");
    EXPECT_EQ(error_of({"--scratch-mib", "65537"}),
              "--scratch-mib '65537': must be a number from 16 to 65536");
    EXPECT_EQ(error_of({"--memory-mib", "63"}),
              "--memory-mib '63': must be a number from 64 to 65536");
    EXPECT_EQ(error_of({"--memory-mib", "64x"}),
              "--memory-mib '64x': must be a number from 64 to 65536");
}

}  // namespace
}  // namespace pepita::shim
