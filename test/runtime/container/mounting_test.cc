#include <gtest/gtest.h>
#include <sys/mount.h>

#include <algorithm>
#include <string>

#include "runtime/container.h"
#include "runtime/container/mounts.h"
#include "test/support/container_test.h"

namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using Kind = test::ImageEntry::Kind;

class Mounts : public ContainerTest {};

TEST_F(Mounts, TmpfsHasTheOptionsItWasGiven) {
    ContainerSpec spec = spec_of("grep ' /data ' /proc/mounts");
    spec.mounts.push_back(
        mount_of("tmpfs", "/data", {"nosuid", "nodev", "noexec", "ro", "size=64k", "mode=0710"}));
    const std::string line = output_of(spec);
    EXPECT_NE(line.find("tmpfs /data tmpfs ro,nosuid,nodev,noexec"), std::string::npos) << line;
    EXPECT_NE(line.find("size=64k"), std::string::npos) << line;
    EXPECT_NE(line.find("mode=710"), std::string::npos) << line;
}

TEST_F(Mounts, TmpfsOverADirectoryOfTheImageKeepsItsMode) {
    use_image({{.kind = Kind::Directory, .path = "private", .content = {}, .mode = 0711}});
    ContainerSpec spec = spec_of("stat -c %a /private; stat -c %a /new");
    spec.mounts.push_back(mount_of("tmpfs", "/private", {}));
    spec.mounts.push_back(mount_of("tmpfs", "/new", {}));
    EXPECT_EQ(output_of(spec), "711\n1777\n");
}

TEST_F(Mounts, ANewMountPointIsMade) {
    ContainerSpec spec = spec_of("grep -c ' /a/b/c ' /proc/mounts");
    spec.mounts.push_back(mount_of("tmpfs", "/a/b/c", {}));
    EXPECT_EQ(output_of(spec), "1\n");
}

TEST_F(Mounts, AnOptionThatTheFileSystemDoesNotKnowIsAnErrorThatNamesTheMount) {
    ContainerSpec spec = spec_of("true");
    spec.mounts.push_back(mount_of("tmpfs", "/data", {"colour=red"}));
    EXPECT_EQ(refusal_of(spec), "mount '/data': tmpfs: Invalid argument (EINVAL)");
}

TEST_F(Mounts, ATypeOutsideTheListIsRefusedByName) {
    ContainerSpec spec = spec_of("true");
    spec.mounts.push_back(mount_of("ext4", "/data", {}));
    EXPECT_EQ(refusal_of(spec), "mount '/data': file systems of type 'ext4'");
}

TEST_F(Mounts, TheRootItselfIsNoMountPoint) {
    ContainerSpec spec = spec_of("true");
    spec.mounts.push_back(mount_of("tmpfs", "//", {}));
    EXPECT_EQ(refusal_of(spec), "mount '//': a mount point is an absolute path below '/'");
}

TEST_F(Mounts, MissingMountPointOfAReadOnlyRootIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.root_read_only = true;
    spec.mounts.push_back(mount_of("tmpfs", "/data", {}));
    EXPECT_EQ(refusal_of(spec),
              "mount '/data': make directory '/data': Read-only file system (EROFS)");
}

TEST_F(Mounts, AFileWhereAMountPointShouldBeIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.mounts.push_back(mount_of("tmpfs", "/plain", {}));
    EXPECT_EQ(refusal_of(spec), "mount '/plain': enter '/plain': Not a directory (ENOTDIR)");
}

TEST_F(Mounts, MaskedFileIsEmptyAndMaskedDirectoryToo) {
    ContainerSpec spec = spec_of("cat /etc/passwd; ls /home; touch /home/x 2>/dev/null || echo ro");
    spec.masked_paths = {"/etc/passwd", "/home", "/not/there", "/plain/below"};
    EXPECT_EQ(output_of(spec), "ro\n");
}

TEST_F(Mounts, ReadOnlyPathCannotBeWrittenAndTheRestCan) {
    ContainerSpec spec =
        spec_of("touch /etc/x 2>&1; touch /tmp/x && echo > /proc/sys/kernel/domainname");
    spec.read_only_paths = {"/etc", "/proc/sys", "/not/there"};
    spec.process.args = {"sh", "-c",
                         "touch /etc/x 2>&1; touch /tmp/x && echo made; "
                         "{ echo x > /proc/sys/kernel/domainname; } 2>&1"};
    spec.process.args.back() += "; true";
    EXPECT_EQ(output_of(spec),
              "touch: /etc/x: Read-only file system\nmade\n"
              "sh: can't create /proc/sys/kernel/domainname: Read-only file system\n");
}

TEST_F(Mounts, ReadOnlyPathKeepsTheMountsBelowIt) {
    ContainerSpec spec = spec_of("ls /dev/pts/ptmx");
    spec.read_only_paths = {"/dev"};
    EXPECT_EQ(output_of(spec), "/dev/pts/ptmx\n");
}

// Images are hostile: what follows are attempts to have something mounted or made outside.

TEST_F(Mounts, ProcBehindASymbolicLinkIsRefused) {
    use_image({});
    ContainerSpec spec = spec_of("true");
    spec.mounts.front().destination = "/elsewhere";
    use_image({{.kind = Kind::Link, .path = "elsewhere", .content = "/../../etc"}});
    EXPECT_EQ(refusal_of(spec), "mount '/elsewhere': the image has a symbolic link there");
}

TEST_F(Mounts, LinksThatClimbOutOfTheRootStayInIt) {
    use_image({{.kind = Kind::Link, .path = "up", .content = "../../../../../../../tmp"}});
    ContainerSpec spec = spec_of("grep -c ' /tmp/pepita-made ' /proc/mounts");
    spec.mounts.push_back(mount_of("tmpfs", "/up/pepita-made", {}));
    EXPECT_EQ(output_of(spec), "1\n");
    EXPECT_NE(::access("/tmp/pepita-made", F_OK), 0);
}

TEST_F(Mounts, LinksOfProcfsAreNotFollowed) {
    use_image({{.kind = Kind::Link, .path = "host", .content = "/proc/self/fd/1"}});
    ContainerSpec spec = spec_of("true");
    spec.mounts.push_back(mount_of("tmpfs", "/host/made", {}));
    EXPECT_EQ(refusal_of(spec),
              "mount '/host/made': open '/host': Too many levels of symbolic links (ELOOP)");
}

TEST_F(Mounts, MaskingDoesNotUseWhatTheImageCallsDevNull) {
    use_image({{.kind = Kind::Link, .path = "dev/null", .content = "/plain"}});
    ContainerSpec spec = spec_of("cat /etc/passwd");
    drop_mounts(spec, "/dev");
    spec.masked_paths = {"/etc/passwd"};
    EXPECT_EQ(refusal_of(spec), "device '/dev/null': the image has something else there");
    spec.root_read_only = true;  // here nothing is made in /dev
    EXPECT_EQ(refusal_of(spec), "open '/dev/null': Too many levels of symbolic links (ELOOP)");
}

}  // namespace
}  // namespace pepita::runtime::container
