#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "kernel-abi/sys/fd.h"
#include "kernel-abi/sys/units.h"
#include "runtime/container.h"
#include "runtime/container/mounts.h"
#include "test/support/container_fixture.h"
#include "test/support/container_test.h"
#include "test/support/loop_image.h"

namespace pepita::runtime::container {
namespace {

using test::ContainerTest;
using Kind = test::ImageEntry::Kind;

class Mounts : public ContainerTest {
protected:
    // What cleans a scratch disk is the caller's child, too.
    static void reap_all() {
        while (::waitpid(-1, nullptr, 0) > 0) {}
    }

    const RootSpec kNothingWritten{.disk = DiskId{.serial = "disk0"},
                                   .written_to = WrittenTo::Nothing};
};

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

TEST_F(Mounts, ATmpfsThatCopiesUpBeginsWithWhatTheImageHasThere) {
    use_image({{.kind = Kind::Directory, .path = "up", .content = {}, .mode = 01777},
               {.kind = Kind::Directory, .path = "up/below", .content = {}, .mode = 0710},
               {.kind = Kind::File, .path = "up/below/file", .content = "old\n", .mode = 04750},
               {.kind = Kind::Link, .path = "up/link", .content = "/etc"}});
    ContainerSpec spec = spec_of(
        "cd /up; stat -c '%a %F' . below below/file; readlink link; cat below/file; "
        "echo new > below/file && cat below/file");
    spec.root_read_only = true;
    spec.mounts.push_back(mount_of("tmpfs", "/up", {"nosuid", "tmpcopyup"}));
    EXPECT_EQ(output_of(spec),
              "1777 directory\n710 directory\n4750 regular file\n/etc\nold\nnew\n");
}

TEST_F(Mounts, ATmpfsTooSmallForWhatItCopiesUpIsAnError) {
    use_image({{.kind = Kind::Directory, .path = "up", .content = {}, .mode = 0755},
               {.kind = Kind::File,
                .path = "up/file",
                .content = std::string(65'536, 'x'),
                .mode = 0644}});
    ContainerSpec spec = spec_of("true");
    spec.mounts.push_back(mount_of("tmpfs", "/up", {"size=16k", "tmpcopyup"}));
    EXPECT_EQ(refusal_of(spec),
              "mount '/up': copy up what is there: 'file': write: "
              "No space left on device (ENOSPC)");
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

TEST_F(Mounts, R24_MountPointsAreMadeBeforeTheRootBecomesReadOnly) {
    ContainerSpec spec = spec_of("grep -c ' /data ' /proc/mounts; touch /x 2>&1; touch /data/x");
    spec.root_read_only = true;
    spec.mounts.push_back(mount_of("tmpfs", "/data", {}));
    EXPECT_EQ(output_of(spec), "1\ntouch: /x: Read-only file system\n");
}

TEST_F(Mounts, R24_ARootOfNothingButAProgramRunsReadOnly) {
    use_bare_image();
    ContainerSpec spec = spec_of("");
    spec.root_read_only = true;
    spec.mounts.push_back(mount_of("sysfs", "/sys", {"nosuid", "noexec", "nodev", "ro"}));
    spec.process.args = {"/busybox", "ls", "/"};
    EXPECT_EQ(output_of(spec), "busybox\ndev\nproc\nsys\n");
}

TEST_F(Mounts, AVolumeHasWhatTheImageHasAndCanBeWrittenToInAReadOnlyRoot) {
    use_image({{.kind = Kind::Directory, .path = "data", .content = {}, .mode = 0711},
               {.kind = Kind::File, .path = "data/file", .content = "of the image", .mode = 0644}});
    ContainerSpec spec = spec_of(
        "cat /data/file; stat -c %a /data; echo new >/data/more && cat /data/more; "
        "echo no >/more || ls /empty");
    spec.root_read_only = true;
    spec.mounts.push_back(mount_of("volume", "/data", {}));
    spec.mounts.push_back(mount_of("volume", "/empty", {}));  // is made
    EXPECT_EQ(run(spec).value_or(test::Ran{}).out, "of the image711\nnew\n");
    spec.mounts.push_back(mount_of("volume", "/data/file", {}));
    EXPECT_EQ(refusal_of(spec), "mount '/data/file': the image's: Not a directory (ENOTDIR)");
}

TEST_F(Mounts, APartOfAnImageIsReadOnlyAndCanBeRun) {
    image_devices_["data"] = image->device();
    const auto add = [](ContainerSpec& spec, const std::string& path, const std::string& at) {
        spec.mounts.push_back({.destination = at,
                               .type = std::string(MountSpec::kImage),
                               .source = path,
                               .options = {},
                               .disk = DiskId{.serial = "data"}});
    };
    ContainerSpec spec =
        spec_of("cat /a/deep/file /b; touch /a/deep/more 2>&1; /all/bin/busybox echo run");
    add(spec, "folder", "/a/deep");
    add(spec, "secret", "/b");
    add(spec, "", "/all");
    EXPECT_EQ(output_of(spec), "file\nhidden\ntouch: /a/deep/more: Read-only file system\nrun\n");
    add(spec, "../no/such", "/c");
    EXPECT_EQ(refusal_of(spec),
              "mount '/c': image: open '../no/such': No such file or directory (ENOENT)");
}

TEST_F(Mounts, R37_AMountPointBelowAReadOnlyDevIsMade) {
    ContainerSpec spec = spec_of(
        "grep -c ' /dev/deep/data ' /proc/mounts; touch /dev/x 2>&1; touch /dev/deep/data/x; "
        "echo > /dev/null && ls /dev/pts/ptmx");
    for (MountSpec& mount : spec.mounts) {
        if (mount.destination == "/dev") {
            mount.options.emplace_back("ro");
        }
    }
    spec.mounts.push_back(mount_of("tmpfs", "/dev/deep/data", {}));
    EXPECT_EQ(output_of(spec), "1\ntouch: /dev/x: Read-only file system\n/dev/pts/ptmx\n");
}

TEST_F(Mounts, MissingMountPointOfARootThatNothingIsWrittenToIsNamed) {
    ContainerSpec spec = spec_of("true");
    spec.root = kNothingWritten;
    spec.mounts.push_back(mount_of("tmpfs", "/data", {}));
    EXPECT_EQ(refusal_of(spec),
              "mount '/data': make directory '/data': Read-only file system (EROFS)");
}

// A directory of this machine stands for what the host shares.
class MountedTrees : public Mounts {
protected:
    void SetUp() override {
        Mounts::SetUp();
        if (!IsSkipped()) {
            ASSERT_NE(::mkdtemp(tree_.data()), nullptr);
            ASSERT_EQ(::chmod(tree_.c_str(), 0755), 0);
            test::fill_root(tree_);
        }
    }
    void TearDown() override {
        if (!IsSkipped()) {
            std::filesystem::remove_all(tree_);
        }
        Mounts::TearDown();
    }
    bool exists(const std::string& path) const {
        return ::access((tree_ + path).c_str(), F_OK) == 0;
    }

    std::string tree_ = "/tmp/pepita-tree-XXXXXX";
};

TEST_F(MountedTrees, ARootIsWrittenInPlace) {
    ContainerSpec spec = spec_of("echo new > /made; cat /secret");
    spec.root = {
        .disk = {}, .tree = TreePath{.tag = tree_, .path = ""}, .written_to = WrittenTo::InPlace};
    EXPECT_EQ(output_of(spec), "hidden\n");
    EXPECT_TRUE(exists("/made"));
    spec.root_read_only = true;
    spec.process.args.back() = "touch /other 2>&1; true";
    EXPECT_EQ(output_of(spec), "touch: /other: Read-only file system\n");
}

TEST_F(MountedTrees, ARootBelowTheTopOfATreeIsWrittenElsewhere) {
    std::filesystem::rename(tree_, tree_ + "-rootfs");
    std::filesystem::create_directory(tree_);
    std::filesystem::rename(tree_ + "-rootfs", tree_ + "/rootfs");
    ContainerSpec spec = spec_of("echo new > /made && cat /made");
    spec.root.tree = TreePath{.tag = tree_, .path = "rootfs"};
    EXPECT_EQ(output_of(spec), "new\n");
    EXPECT_FALSE(exists("/rootfs/made"));
    spec.root.written_to = WrittenTo::Nothing;
    spec.process.args.back() = "touch /made 2>&1; true";
    EXPECT_EQ(output_of(spec), "touch: /made: Read-only file system\n");
}

TEST_F(MountedTrees, DirectoriesAndFilesOfATreeAreMounted) {
    ContainerSpec spec = spec_of(
        "cat /mnt/data/file /etc/secret; touch /mnt/data/x 2>&1; echo new > /mnt/rw/y; "
        "grep ' /mnt/rw ' /proc/mounts | grep -c nosuid,nodev,noexec");
    const auto bind = [this](const std::string& path, const std::string& destination,
                             std::vector<std::string> options) {
        return MountSpec{.destination = destination,
                         .type = "bind",
                         .source = "",
                         .options = std::move(options),
                         .tree = TreePath{.tag = tree_, .path = path}};
    };
    spec.mounts.push_back(bind("folder", "/mnt/data", {"rbind", "ro"}));
    spec.mounts.push_back(bind("secret", "/etc/secret", {"bind"}));
    spec.mounts.push_back(bind("home", "/mnt/rw", {"bind", "nosuid", "nodev", "noexec"}));
    EXPECT_EQ(output_of(spec), "file\nhidden\ntouch: /mnt/data/x: Read-only file system\n1\n");
    EXPECT_TRUE(exists("/home/y"));
    EXPECT_FALSE(exists("/folder/x"));
}

TEST_F(MountedTrees, APathLeadsOutOfNoTreeAndAMissingOneIsNamed) {
    ContainerSpec spec = spec_of("cat /mnt/file");
    spec.mounts.push_back({.destination = "/mnt",
                           .type = "bind",
                           .source = "",
                           .options = {},
                           .tree = TreePath{.tag = tree_, .path = "../../link"}});
    EXPECT_EQ(output_of(spec), "file\n");  // /link leads to the tree's own /folder
    spec.mounts.back().tree->path = "absent";
    EXPECT_EQ(refusal_of(spec), "mount '/mnt': open 'absent': No such file or directory (ENOENT)");
    spec.mounts.back().tree.reset();
    EXPECT_EQ(refusal_of(spec), "mount '/mnt': a mount of what is in no tree");
}

TEST_F(MountedTrees, ARootIsEitherADiskOrATreeAndAnImageIsNotWrittenInPlace) {
    ContainerSpec spec = spec_of("true");
    spec.root = {.disk = DiskId{.serial = "disk0"},
                 .tree = TreePath{.tag = tree_, .path = ""},
                 .written_to = WrittenTo::Memory};
    EXPECT_EQ(refusal_of(spec), "a root is either a disk or a tree");
    spec.root.tree.reset();
    spec.root.written_to = WrittenTo::InPlace;
    EXPECT_EQ(refusal_of(spec), "an image is not written in place");
}

TEST_F(Mounts, DirectoriesOfOneScratchDiskServeManyContainersAndAreRemovedWithThem) {
    const auto scratch = test::LoopImage::create_empty(16_MiB);
    ASSERT_TRUE(scratch.has_value()) << scratch.error().message();
    scratch_device_ = (*scratch)->device();
    ContainerSpec spec = spec_of("echo $HOSTNAME > /kept; cat /kept; exec cat");
    spec.root = {.disk = DiskId{.serial = "disk0"},
                 .tree = {},
                 .written_to = WrittenTo::ScratchDisk,
                 .scratch_disk = {.serial = "disk1"},
                 .scratch_directory = "one"};
    test::PipeEnds input = test::make_pipe();
    auto first = create(spec, {.in = std::move(input.out), .out = Fd(), .err = Fd()});
    ASSERT_TRUE(first.has_value()) << first.error().message();
    ASSERT_EQ((*first)->process().start().value(), 0U);
    EXPECT_EQ(refusal_of(spec),
              "root file system: make 'one' for what is written: File exists (EEXIST)");
    spec.root.scratch_directory = "two";
    spec.process.args.back() = "ls /kept 2>&1; true";
    EXPECT_EQ(output_of(spec), "ls: /kept: No such file or directory\n");
    EXPECT_TRUE((*first)->remove().has_value());
    EXPECT_EQ(test::reap_status((*first)->process().pid()), 128U + SIGKILL);
    reap_all();
    spec.root.scratch_directory = "one";  // removed, so it can be made again
    EXPECT_EQ(output_of(spec), "ls: /kept: No such file or directory\n");
    reap_all();
    spec.root.scratch_directory = "a/b";
    EXPECT_EQ(refusal_of(spec), "'a/b' is no name of a directory");
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
    spec.root = kNothingWritten;  // here nothing is made in /dev
    EXPECT_EQ(refusal_of(spec), "open '/dev/null': Too many levels of symbolic links (ELOOP)");
}

}  // namespace
}  // namespace pepita::runtime::container
