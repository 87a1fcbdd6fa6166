#include "storage/cli/command_line.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"
#include "kernel-abi/sys/units.h"
#include "storage/api/storage_api.h"
#include "test/support/golden.h"

namespace pepita::storage::cli {
namespace {

using api::FrontEnd;
using api::VolumeKind;
using Words = std::vector<std::string>;

Command parsed(const Words& words) {
    Command command;
    EXPECT_TRUE(parse_command_line(words, command).has_value());
    return command;
}

TEST(StorageCommandLine, CreateTakesEveryOption) {
    const Command command = parsed({"storage", "create", "web", "--size=1G", "--kind", "overlay",
                                    "--file", "/b", "--domain", "t", "--socket", "/s"});
    EXPECT_EQ(command.verb, Verb::Create);
    EXPECT_EQ(command.volume, (api::VolumeSpec{.name = "web",
                                               .kind = VolumeKind::Overlay,
                                               .capacity = 1024_MiB,
                                               .domain = "t",
                                               .file = "/b"}));
    EXPECT_EQ(command.socket, "/s");
}

TEST(StorageCommandLine, AFileMayBeDirect) {
    EXPECT_TRUE(parsed({"storage", "create", "web", "--direct"}).volume.direct);
    EXPECT_FALSE(parsed({"storage", "create", "web"}).volume.direct);
}

TEST(StorageCommandLine, AFileIsMadeAbsolute) {
    EXPECT_TRUE(parsed({"storage", "create", "web", "--file", "b"}).volume.file.starts_with('/'));
}

TEST(StorageCommandLine, AttachTakesEveryOption) {
    const Command command = parsed({"storage", "attach", "--front-end", "ublk", "--queues", "4",
                                    "--depth", "32", "--read-only", "web"});
    EXPECT_EQ(command.volume.name, "web");
    EXPECT_EQ(command.attach,
              (api::AttachSpec{
                  .front_end = FrontEnd::Ublk, .queues = 4, .depth = 32, .read_only = true}));
}

TEST(StorageCommandLine, WordsBehindTheName) {
    EXPECT_EQ(parsed({"storage", "resize", "web", "64M"}).capacity, 64_MiB);
    EXPECT_EQ(parsed({"storage", "snapshot", "web", "f"}).path, "f");
    EXPECT_EQ(parsed({"storage", "restore", "web", "--", "-f"}).path, "-f");
}

TEST(StorageCommandLine, ReportsTakeTheirOptions) {
    EXPECT_EQ(parsed({"storage", "list", "--format", "json"}).format, Format::Json);
    EXPECT_EQ(parsed({"storage", "stats"}).format, Format::Table);
    EXPECT_TRUE(parsed({"storage", "top", "--once"}).once);
}

TEST(StorageCommandLine, HelpIsGolden) {
    std::string all = help_text(Verb::None);
    for (const Verb verb :
         {Verb::Create, Verb::Attach, Verb::Detach, Verb::Resize, Verb::Snapshot, Verb::Restore,
          Verb::Delete, Verb::List, Verb::Stats, Verb::Top, Verb::Metrics}) {
        all += "\n" + help_text(verb);
    }
    test::expect_golden("storage/help.txt", all);
    EXPECT_EQ(parsed({"--help"}).verb, Verb::Help);
    EXPECT_EQ(parsed({"storage", "-h"}).topic, Verb::None);
    EXPECT_EQ(parsed({"storage", "create", "--help"}).topic, Verb::Create);
    EXPECT_EQ(parsed({"--version"}).verb, Verb::Version);
}

struct Bad {
    Words words;
    std::string message;
};

class StorageCommandLineBad : public testing::TestWithParam<Bad> {};

TEST_P(StorageCommandLineBad, IsNamed) {
    Command command;
    const Result<void> result = parse_command_line(GetParam().words, command);
    ASSERT_FALSE(result.has_value());
    EXPECT_EQ(result.error().code(), Code::InvalidArgument);
    EXPECT_EQ(result.error().message(), GetParam().message);
}

constexpr const char* kBadName =
    "name: must be 1 to 63 of A-Z a-z 0-9 . _ - and not begin with a dot";
constexpr const char* kBadDepth = "option '--depth': must be a whole number from 1 to 4096";

INSTANTIATE_TEST_SUITE_P(
    Every, StorageCommandLineBad,
    testing::Values(Bad{{}, "no command given; try --help"},
                    Bad{{"storge"}, "unknown command 'storge'; try --help"},
                    Bad{{"storage"}, "no storage command given; try --help"},
                    Bad{{"storage", "mount"}, "unknown storage command 'mount'; try --help"},
                    Bad{{"storage", "create"}, "needs NAME"},
                    Bad{{"storage", "create", "a/b"}, kBadName},
                    Bad{{"storage", "create", ""}, kBadName},
                    Bad{{"storage", "resize", "web"}, "needs NAME SIZE"},
                    Bad{{"storage", "resize", "web", "0"},
                        "'0': must be a size above 0, such as 4096, 64M or 1G"},
                    Bad{{"storage", "delete", "web", "x"}, "unexpected argument 'x'"},
                    Bad{{"storage", "list", "web"}, "unexpected argument 'web'"},
                    Bad{{"storage", "list", "--once"}, "unknown option '--once'"},
                    Bad{{"storage", "attach", "web", "--depth", "0"}, kBadDepth},
                    Bad{{"storage", "attach", "web", "--depth", "4097"}, kBadDepth},
                    Bad{{"storage", "attach", "web", "--queues", "65"},
                        "option '--queues': must be a whole number from 1 to 64"},
                    Bad{{"storage", "attach", "web", "--front-end", "nbd"},
                        "option '--front-end': must be ublk or vhost-user"},
                    Bad{{"storage", "create", "web", "--kind", "tape"},
                        "option '--kind': must be zram, file or overlay"}));

}  // namespace
}  // namespace pepita::storage::cli
