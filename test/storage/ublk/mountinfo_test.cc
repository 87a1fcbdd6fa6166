#include "storage/ublk/mountinfo.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace pepita::storage::ublk {
namespace {

using Points = std::vector<std::string>;

TEST(Mountinfo, FindsFileSystemsOnUblkDevicesAndPartitions) {
    EXPECT_EQ(mounts_on_ublk("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
                             "40 22 259:0 / /mnt rw shared:7 master:2 - ext4 /dev/ublkb0 rw\n"
                             "41 22 259:1 /sub /mnt/two\\040words\\134 rw - xfs /dev/ublkb10p2 rw\n"
                             "42 22 0:5 / /dev/ublkb0 rw - tmpfs tmpfs rw\n"),
              (Points{"/mnt", "/mnt/two words\\"}));
}

TEST(Mountinfo, OverlooksWhatIsNotWhole) {
    EXPECT_EQ(mounts_on_ublk(""), Points());
    EXPECT_EQ(mounts_on_ublk("\n\n"), Points());
    EXPECT_EQ(mounts_on_ublk("40 22 259:0 / /mnt rw"), Points());
    EXPECT_EQ(mounts_on_ublk("40 22 259:0 / /mnt rw - ext4"), Points());
    EXPECT_EQ(mounts_on_ublk("1 2 3:4 / /a\\04 rw - e /dev/ublkb1"), Points{"/a\\04"})
        << "no escape, and no newline";
}

}  // namespace
}  // namespace pepita::storage::ublk
