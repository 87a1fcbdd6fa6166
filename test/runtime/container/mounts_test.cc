#include "runtime/container/mounts.h"

#include <gtest/gtest.h>
#include <sys/mount.h>

namespace pepita::runtime::container {
namespace {

TEST(MountOptions, NothingIsNothing) { EXPECT_EQ(mount_options({}), MountOptions()); }

TEST(MountOptions, FlagsOfMountAreSet) {
    EXPECT_EQ(mount_options({"nosuid", "noexec", "nodev", "ro", "relatime", "sync"}),
              (MountOptions{.flags = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY | MS_RELATIME |
                                     MS_SYNCHRONOUS,
                            .data = ""}));
}

TEST(MountOptions, TheLaterOfTwoOpposedFlagsWins) {
    EXPECT_EQ(mount_options({"ro", "rw"}).flags, 0U);
    EXPECT_EQ(mount_options({"rw", "ro"}).flags, static_cast<unsigned long>(MS_RDONLY));
    EXPECT_EQ(mount_options({"noexec", "nosuid", "exec"}).flags,
              static_cast<unsigned long>(MS_NOSUID));
    EXPECT_EQ(mount_options({"noatime", "atime"}).flags, 0U);
}

TEST(MountOptions, TheFileSystemsOwnGoIntoItsDataInOrder) {
    EXPECT_EQ(mount_options({"mode=755", "nosuid", "size=65536k", "defaults"}),
              (MountOptions{.flags = MS_NOSUID, .data = "mode=755,size=65536k"}));
}

TEST(MountOptions, AFlagWithOtherLettersIsNone) {
    EXPECT_EQ(mount_options({"RO"}), (MountOptions{.flags = 0, .data = "RO"}));
    EXPECT_EQ(mount_options({"ro "}), (MountOptions{.flags = 0, .data = "ro "}));
}

}  // namespace
}  // namespace pepita::runtime::container
