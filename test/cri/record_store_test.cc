#include "cri/record_store.h"

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernel-abi/sys/error.h"

namespace pepita::cri {
namespace {

class RecordStoreTest : public testing::Test {
protected:
    RecordStoreTest() { EXPECT_NE(::mkdtemp(root_.data()), nullptr); }
    ~RecordStoreTest() override { std::filesystem::remove_all(root_); }

    std::string root_ = "/tmp/pepita-records-XXXXXX";
};

TEST_F(RecordStoreTest, KeepsWhatWasPutLast) {
    auto store = RecordStore::open(root_ + "/a/b");
    ASSERT_TRUE(store) << store.error().message();
    ASSERT_TRUE(store->put("two", "second"));
    ASSERT_TRUE(store->put("one", std::string("fir\0st", 6)));
    ASSERT_TRUE(store->put("two", "third"));
    const auto again = RecordStore::open(root_ + "/a/b");
    const auto all = again->all();
    ASSERT_TRUE(all);
    ASSERT_EQ(all->size(), 2);
    EXPECT_EQ((*all)[0].name, "one");
    EXPECT_EQ((*all)[0].bytes, std::string("fir\0st", 6));
    EXPECT_EQ((*all)[1].bytes, "third");
    ASSERT_TRUE(store->remove("two"));
    ASSERT_TRUE(store->remove("two"));
    EXPECT_EQ(store->all()->size(), 1);
}

TEST_F(RecordStoreTest, WhatACrashLeftIsRemovedAndNobodyElseReads) {
    ASSERT_TRUE(RecordStore::open(root_ + "/records"));
    std::ofstream(root_ + "/records/one.new") << "half";
    const auto store = RecordStore::open(root_ + "/records");
    ASSERT_TRUE(store);
    EXPECT_TRUE(store->all()->empty());
    struct stat status{};
    ASSERT_EQ(::stat((root_ + "/records").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0700U);
}

TEST_F(RecordStoreTest, APlaceThatIsNoDirectoryIsNamed) {
    std::ofstream(root_ + "/file") << "text";
    const auto store = RecordStore::open(root_ + "/file");
    ASSERT_FALSE(store);
    EXPECT_NE(store.error().message().find(root_ + "/file"), std::string::npos);
}

}  // namespace
}  // namespace pepita::cri
