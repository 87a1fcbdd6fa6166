#include "compute/cli/journal.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kernel-abi/sys/error.h"

namespace pepita::compute::cli {
namespace {

const std::string kOne = R"({"line":1,"status":"succeeded","attempts":1})"
                         "\n";
const std::string kTwo = R"({"line":2,"status":"timed out","attempts":3})"
                         "\n";
constexpr Journal::Identity kIdentity{.fingerprint = 42, .shard = {.index = 1, .count = 2}};

class JournalTest : public testing::Test {
protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "journal-XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        directory_ = name;
        path_ = name + "/a.journal";
    }
    void TearDown() override { std::filesystem::remove_all(directory_); }

    Result<Journal> open(Journal::Existing existing = Journal::Existing::Continue) {
        return Journal::open(path_, kIdentity, existing);
    }
    void append_raw(const std::string& text) { std::ofstream(path_, std::ios::app) << text; }
    std::string content() {
        std::stringstream text;
        text << std::ifstream(path_).rdbuf();
        return text.str();
    }

    std::string directory_;
    std::string path_;
};

TEST_F(JournalTest, KnowsWhatEndedInEarlierRuns) {
    {
        const auto journal = open();
        ASSERT_TRUE(journal) << journal.error().message();
        EXPECT_TRUE(journal->ended().empty());
        EXPECT_TRUE(journal->append(kOne));
        EXPECT_TRUE(journal->append(kTwo));
    }
    const auto again = open();
    ASSERT_TRUE(again) << again.error().message();
    EXPECT_EQ(again->ended(),
              (std::vector<EndedTask>{{.line = 1, .status = TaskStatus::Succeeded, .attempts = 1},
                                      {.line = 2, .status = TaskStatus::TimedOut, .attempts = 3}}));
}

TEST_F(JournalTest, DropsALineThatWasCutShort) {
    ASSERT_TRUE(open()->append(kOne));
    const std::string whole = content();
    append_raw(kTwo.substr(0, kTwo.size() - 1));
    const auto journal = open();
    ASSERT_TRUE(journal) << journal.error().message();
    EXPECT_EQ(journal->ended().size(), 1U);
    EXPECT_EQ(content(), whole);
}

TEST_F(JournalTest, ABeginningThatWasCutShortIsNone) {
    append_raw("{\"journal\":1,");
    const auto journal = open();
    ASSERT_TRUE(journal) << journal.error().message();
    EXPECT_TRUE(journal->ended().empty());
    EXPECT_TRUE(content().starts_with("{\"journal\":1,\"fingerprint\":42,\"shard\":\"1/2\"}\n"));
}

TEST_F(JournalTest, RefusesOneOfAnotherFileUnlessItIsDiscarded) {
    append_raw("{\"journal\":1,\"fingerprint\":43,\"shard\":\"1/2\"}\n");
    const auto journal = open();
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().code(), Code::FailedPrecondition);
    EXPECT_EQ(journal.error().message(),
              "journal '" + path_ +
                  "': it is of another task file, or the file has changed; --fresh discards it");
    EXPECT_TRUE(open(Journal::Existing::Discard));
    EXPECT_TRUE(open());
}

TEST_F(JournalTest, NamesTheLineThatIsDamaged) {
    ASSERT_TRUE(open()->append(kOne));
    append_raw("{}\n");
    const auto journal = open();
    ASSERT_FALSE(journal);
    EXPECT_EQ(journal.error().code(), Code::DataLoss);
    EXPECT_EQ(journal.error().message(),
              "journal '" + path_ + "': line 3: line: is missing; --fresh discards it");
}

TEST_F(JournalTest, NobodyHoldsOneThatIsNotThere) {
    const auto holder = Journal::holder(path_);
    ASSERT_TRUE(holder);
    EXPECT_EQ(*holder, std::nullopt);
}

TEST(JournalPath, IsBesideTheFile) {
    EXPECT_EQ(beside("/a/b.jsonl", {}, "journal"), "/a/b.jsonl.journal");
    EXPECT_EQ(beside("b", {.index = 2, .count = 5}, "status"), "b.2-of-5.status");
}

}  // namespace
}  // namespace pepita::compute::cli
