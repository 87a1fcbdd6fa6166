#include "storage/image/reference.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "storage/digest.h"

namespace pepita::storage::image {
namespace {

const std::string kDigest = Digest{}.text();

std::string read(std::string_view text) {
    const auto reference = parse_reference(text);
    if (!reference) {
        return "refused";
    }
    return reference->registry + " " + reference->repository + " " + reference->tag +
           (reference->digest ? " @" : "");
}

TEST(Reference, HasDockersDefaults) {
    EXPECT_EQ(read("busybox"), "docker.io library/busybox latest");
    EXPECT_EQ(read("team/app:1"), "docker.io team/app 1");
    EXPECT_EQ(read("index.docker.io/busybox"), "docker.io library/busybox latest");
}

TEST(Reference, NamesARegistryByDotPortOrLocalhost) {
    EXPECT_EQ(read("registry.k8s.io/pause:3.9"), "registry.k8s.io pause 3.9");
    EXPECT_EQ(read("127.0.0.1:5000/a/b/c"), "127.0.0.1:5000 a/b/c latest");
    EXPECT_EQ(read("localhost/a"), "localhost a latest");
    EXPECT_EQ(read("[::1]:5000/a:x"), "[::1]:5000 a x");
}

TEST(Reference, TakesDigestAndTagAndBoth) {
    EXPECT_EQ(read("a@" + kDigest), "docker.io library/a  @");
    EXPECT_EQ(read("a:1@" + kDigest), "docker.io library/a 1 @");
    const auto both = parse_reference("a:1@" + kDigest);
    EXPECT_EQ(both->manifest_reference(), kDigest);
    EXPECT_EQ(both->tagged(), "docker.io/library/a:1");
    EXPECT_EQ(both->with(Digest{}), "docker.io/library/a@" + kDigest);
}

TEST(Reference, TakesAllSeparators) {
    EXPECT_EQ(read("a-b/c__d/e.f/g---h"), "docker.io a-b/c__d/e.f/g---h latest");
}

TEST(Reference, RefusesWhatDockerRefuses) {
    for (const std::string_view text : {"",
                                        "A",
                                        "a/B",
                                        "a:",
                                        "a:-x",
                                        "a@sha256:0",
                                        "a@sha512:0",
                                        "../a",
                                        "a//b",
                                        "/a",
                                        "a/",
                                        "a..b",
                                        "a_",
                                        "-a",
                                        "a:x:y",
                                        "h.example:0/a",
                                        "h.example:99999/a",
                                        "h.example:/a",
                                        "a b",
                                        "a\n",
                                        "h.exa%6dple/a",
                                        "a?b",
                                        "a#b",
                                        "u@h.example/a"}) {
        EXPECT_EQ(read(text), "refused") << text;
    }
    EXPECT_EQ(read("a:" + std::string(129, 'x')), "refused");
    EXPECT_EQ(read(std::string(256, 'x')), "refused");
}

}  // namespace
}  // namespace pepita::storage::image
