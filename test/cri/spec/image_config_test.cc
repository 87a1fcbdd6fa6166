#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "cri/container_spec.h"
#include "kernel-abi/sys/error.h"

namespace pepita::cri {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Pair;

TEST(ImageConfigOf, HasWhatContainersInherit) {
    const auto read = parse_image_config(R"({
        "architecture": "amd64", "os": "linux",
        "config": {
            "User": "app:web",
            "ExposedPorts": {"80/tcp": {}},
            "Env": ["PATH=/bin", "A="],
            "Entrypoint": ["/entry"],
            "Cmd": ["-v", ""],
            "Volumes": {"/var/lib/b": {}, "/data": {}},
            "WorkingDir": "/srv",
            "Labels": {"maintainer": "me"},
            "StopSignal": "SIGQUIT"
        },
        "rootfs": {"type": "layers", "diff_ids": []}
    })");
    ASSERT_TRUE(read.has_value()) << read.error().message();
    EXPECT_EQ(read->user, "app:web");
    EXPECT_THAT(read->env, ElementsAre("PATH=/bin", "A="));
    EXPECT_THAT(read->entrypoint, ElementsAre("/entry"));
    EXPECT_THAT(read->cmd, ElementsAre("-v", ""));
    EXPECT_THAT(read->volumes, ElementsAre("/data", "/var/lib/b"));
    EXPECT_EQ(read->working_dir, "/srv");
    EXPECT_THAT(read->labels, ElementsAre(Pair("maintainer", "me")));
    EXPECT_EQ(read->stop_signal, "SIGQUIT");
}

TEST(ImageConfigOf, WhatIsMissingOrNullIsNone) {
    for (const char* json : {"{}", R"({"config":null})",
                             R"({"config":{"Env":null,"Cmd":null,"Volumes":null,"User":null}})"}) {
        const auto read = parse_image_config(json);
        ASSERT_TRUE(read.has_value()) << read.error().message();
        EXPECT_EQ(*read, ImageConfig());
    }
}

TEST(ImageConfigOf, WrongTypesAreNamed) {
    const auto read = parse_image_config(R"({"config":{"Env":["A=B",7]}})");
    ASSERT_FALSE(read.has_value());
    EXPECT_EQ(read.error().code(), Code::InvalidArgument);
    EXPECT_THAT(read.error().message(), HasSubstr("image config: config.Env[1]"));
}

TEST(ImageConfigOf, OtherBytesAreNoConfiguration) {
    EXPECT_FALSE(parse_image_config("").has_value());
    EXPECT_FALSE(parse_image_config("[]").has_value());
    EXPECT_FALSE(parse_image_config("{\"config\":{\"User\":\"\xff\"}}").has_value());
}

}  // namespace
}  // namespace pepita::cri
