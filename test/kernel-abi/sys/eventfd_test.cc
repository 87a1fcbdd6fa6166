#include "kernel-abi/sys/eventfd.h"

#include <gtest/gtest.h>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

TEST(Eventfd, CountsSignalsUntilDrained) {
    const Result<Fd> fd = create_eventfd();
    ASSERT_TRUE(fd.has_value());
    EXPECT_EQ(drain_eventfd(fd->ref()), 0U);
    signal_eventfd(fd->ref());
    signal_eventfd(fd->ref());
    EXPECT_EQ(drain_eventfd(fd->ref()), 2U);
    EXPECT_EQ(drain_eventfd(fd->ref()), 0U);
}

}  // namespace
}  // namespace pepita
