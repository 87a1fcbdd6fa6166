#include "runtime/container/cgroup_stats.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "kernel-abi/sys/fd.h"
#include "runtime/container.h"

namespace pepita::runtime::container {
namespace {

// Files as cgroup v2 has them.
class CgroupStatsTest : public testing::Test {
protected:
    CgroupStatsTest() { EXPECT_NE(::mkdtemp(directory_.data()), nullptr); }
    ~CgroupStatsTest() override { std::filesystem::remove_all(directory_); }

    void write(const std::string& file, const std::string& text) {
        std::ofstream(directory_ + "/" + file) << text;
    }

    std::string directory_ = "/tmp/pepita-cgroup-XXXXXX";
};

TEST_F(CgroupStatsTest, EachNumberComesFromItsLine) {
    write("cpu.stat",
          "usage_usec 300\nuser_usec 200\nsystem_usec 100\nnr_periods 9\nthrottled_usec 50\n");
    write("memory.current", "1048576\n");
    write("memory.stat", "anon 4096\nanon_thp 1\ninactive_file 8192\npgfault 11\npgmajfault 2\n");
    write("memory.events", "low 7\noom 3\noom_kill 1\noom_group_kill 5\n");
    write("pids.current", "4\n");
    EXPECT_EQ(read_stats(directory_).value(), (ContainerStats{.cpu_usage_us = 300,
                                                              .cpu_user_us = 200,
                                                              .cpu_system_us = 100,
                                                              .cpu_throttled_us = 50,
                                                              .memory_bytes = 1'048'576,
                                                              .memory_anonymous_bytes = 4096,
                                                              .memory_inactive_file_bytes = 8192,
                                                              .page_faults = 11,
                                                              .page_faults_major = 2,
                                                              .oom_kills = 1,
                                                              .pids = 4,
                                                              .cpu_periods = 9}));
}

TEST_F(CgroupStatsTest, LimitsPeaksAndWaitingAreRead) {
    write("cpu.stat", "nr_periods 9\nnr_throttled 4\n");
    write("cpu.pressure",
          "some avg10=0.50 avg60=0.00 avg300=0.00 total=12\n"
          "full avg10=0.00 avg60=12.34 avg300=0.07 total=99\n");
    write("memory.max", "4096\n");
    write("memory.peak", "5000\n");
    write("memory.stat", "file 8\nkernel 2\nkernel_stack 9\nfile_mapped 1\n");
    write("memory.events", "max 3\n");
    write("hugetlb.2MB.current", "2097152\n");
    write("memory.swap.current", "16\n");
    write("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=13\n");
    write("pids.max", "max\n");
    write("io.stat",
          "253:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=9 dios=9\n"
          "253:16 rbytes=10 wbytes=20 rios=30 wios=40 dbytes=9 dios=9\n");
    write("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=14\n");
    EXPECT_EQ(
        read_stats(directory_).value(),
        (ContainerStats{
            .cpu_periods = 9,
            .cpu_throttled_periods = 4,
            .cpu_pressure = {.some = {.total_us = 12, .average_10s = 50},
                             .full = {.total_us = 99, .average_60s = 1234, .average_300s = 7}},
            .memory_limit_bytes = 4096,
            .memory_peak_bytes = 5000,
            .memory_file_bytes = 8,
            .memory_swap_bytes = 16,
            .memory_pressure = {.some = {.total_us = 13}},
            .io_read_bytes = 11,
            .io_written_bytes = 22,
            .io_reads = 33,
            .io_writes = 44,
            .io_pressure = {.some = {.total_us = 14}},
            .memory_mapped_bytes = 1,
            .memory_kernel_bytes = 2,
            .memory_limit_hits = 3,
            .huge_page_bytes = 2'097'152}));
}

TEST_F(CgroupStatsTest, AMissingControllerCountsAsZero) {
    write("cpu.stat", "usage_usec 300\n");
    EXPECT_EQ(read_stats(directory_).value(), (ContainerStats{.cpu_usage_us = 300}));
}

TEST_F(CgroupStatsTest, ProcessesAndTheirFilesAreCountedAlsoInCgroupsBelow) {
    const Fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const ContainerStats before = [this] {
        write("cgroup.procs", std::to_string(::getpid()) + "\n");
        return read_stats(directory_).value();
    }();
    EXPECT_EQ(before.processes, 1U);
    EXPECT_GE(before.sockets, 1U);
    EXPECT_GT(before.open_files, before.sockets);
    std::filesystem::create_directory(directory_ + "/below");
    write("below/cgroup.procs", std::to_string(::getpid()) + "\n");
    EXPECT_EQ(read_stats(directory_).value().processes, 2U);
    // This process has the directories open meanwhile.
    EXPECT_GE(read_stats(directory_).value().open_files, 2 * before.open_files);
}

TEST_F(CgroupStatsTest, AFirstProcessTellsOfItsLimitAndItsRoot) {
    ContainerStats stats;
    read_first_process(::getpid(), stats);
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
    EXPECT_EQ(stats.open_files_limit, limit.rlim_cur);
    EXPECT_GT(stats.disk_bytes, stats.disk_free_bytes);
}

}  // namespace
}  // namespace pepita::runtime::container
