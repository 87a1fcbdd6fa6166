#include "storage/cli/image_command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "storage/cli/tables.h"
#include "storage/image_store.h"
#include "test/support/golden.h"

namespace pepita::storage::cli {
namespace {

using Words = std::vector<std::string>;

std::string error_of(const Words& words) {
    ImageCommand command;
    const auto parsed = parse_image_command_line(words, command);
    return parsed ? "" : parsed.error().message();
}

TEST(ImageCommandLine, TakesEveryOption) {
    ImageCommand command;
    ASSERT_TRUE(parse_image_command_line(Words{"pull", "busybox", "--authfile=/a", "--platform",
                                               "linux/arm64/v8", "--parallel=16", "--root", "/r"},
                                         command));
    EXPECT_EQ(command.verb, ImageVerb::Pull);
    EXPECT_EQ(command.images, Words{"busybox"});
    EXPECT_EQ(command.auth_file, "/a");
    EXPECT_EQ(command.root, "/r");
    const auto options = fetch_options(command);
    ASSERT_TRUE(options);
    EXPECT_EQ(options->architecture, "arm64");
    EXPECT_EQ(options->variant, "v8");
    EXPECT_EQ(options->parallel, 16U);
}

TEST(ImageCommandLine, RemoveTakesSeveral) {
    ImageCommand command;
    ASSERT_TRUE(parse_image_command_line(Words{"remove", "a", "b"}, command));
    EXPECT_EQ(command.images, (Words{"a", "b"}));
}

TEST(ImageCommandLine, SaysWhatIsWrong) {
    EXPECT_EQ(error_of({}), "no image command given; try --help");
    EXPECT_EQ(error_of({"fetch"}), "unknown image command 'fetch'; try --help");
    EXPECT_EQ(error_of({"pull"}), "needs NAME");
    EXPECT_EQ(error_of({"pull", "a", "b"}), "unexpected argument 'b'");
    EXPECT_EQ(error_of({"list", "a"}), "unexpected argument 'a'");
    EXPECT_EQ(error_of({"export", "a"}), "option '--output' is missing");
    EXPECT_NE(error_of({"pull", "a", "--parallel=17"}), "");
    EXPECT_NE(error_of({"pull", "a", "--platform=arm64"}), "");
    EXPECT_NE(error_of({"list", "--name=x"}), "");
}

TEST(ImageCommandLine, HelpIsGolden) {
    std::string text = image_help_text(ImageVerb::None);
    for (const auto verb : {ImageVerb::Pull, ImageVerb::List, ImageVerb::Inspect, ImageVerb::Remove,
                            ImageVerb::Prune, ImageVerb::Import, ImageVerb::Export}) {
        text += "\n" + image_help_text(verb);
    }
    test::expect_golden("storage/image_help.txt", text);
}

TEST(ImageTable, HasALineForEachTag) {
    const ImageInfo tagged{
        .id = Digest{}, .names = {"a:1", "a:2", "a@sha256:0"}, .layers = {}, .size = Bytes(1536)};
    const ImageInfo untagged{.id = Digest{}, .names = {}, .layers = {}, .size = Bytes(0)};
    const std::vector images{tagged, untagged};
    EXPECT_EQ(image_table(images),
              "NAME  ID            SIZE\n"
              "a:1   000000000000  1.5 KiB\n"
              "a:2   000000000000  1.5 KiB\n"
              "-     000000000000  0 B\n");
}

}  // namespace
}  // namespace pepita::storage::cli
