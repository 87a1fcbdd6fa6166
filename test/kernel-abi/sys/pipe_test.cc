#include "kernel-abi/sys/pipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/result.h"

namespace pepita {
namespace {

TEST(Pipe, WhatIsWrittenIsReadUntilTheWriterEnds) {
    Pipe pipe = make_pipe().value();
    char byte = 'x';
    ASSERT_EQ(::write(pipe.write.ref().number(), &byte, 1), 1);
    pipe.write = Fd();
    byte = 0;
    EXPECT_EQ(::read(pipe.read.ref().number(), &byte, 1), 1);
    EXPECT_EQ(byte, 'x');
    EXPECT_EQ(::read(pipe.read.ref().number(), &byte, 1), 0);
}

TEST(Pipe, ClosesAtExecAndWaits) {
    const Pipe pipe = make_pipe().value();
    for (const FdRef end : {pipe.read.ref(), pipe.write.ref()}) {
        EXPECT_EQ(::fcntl(end.number(), F_GETFD), FD_CLOEXEC);
        EXPECT_EQ(::fcntl(end.number(), F_GETFL) & O_NONBLOCK, 0);
    }
}

TEST(Pipe, SaysWhyThereIsNone) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
    const rlimit none{.rlim_cur = 0, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
    const Result<Pipe> pipe = make_pipe();
    ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
    ASSERT_FALSE(pipe);
    EXPECT_EQ(pipe.error().sys_errno(), EMFILE);
}

}  // namespace
}  // namespace pepita
