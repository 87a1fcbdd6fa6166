#include "cri/stop_signal.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "cri/api/cri.h"
#include "cri/container_spec.h"

namespace pepita::cri {
namespace {

TEST(StopSignal, IsTheContainersThenTheImagesThenTerm) {
    v1::ContainerConfig container;
    ImageConfig image;
    EXPECT_EQ(stop_signal_of(container, image).value_or(0), SIGTERM);
    image.stop_signal = "SIGQUIT";
    EXPECT_EQ(stop_signal_of(container, image).value_or(0), SIGQUIT);
    container.set_stop_signal(v1::SIGNAL_SIGRTMINPLUS3);
    EXPECT_EQ(stop_signal_of(container, image).value_or(0), 37);
}

TEST(StopSignal, HasNamesAndNumbers) {
    EXPECT_EQ(signal_number("SIGTERM").value_or(0), SIGTERM);
    EXPECT_EQ(signal_number("usr1").value_or(0), SIGUSR1);
    EXPECT_EQ(signal_number("9").value_or(0), 9);
    EXPECT_EQ(signal_number("64").value_or(0), 64);
    EXPECT_EQ(signal_number("SIGCLD").value_or(0), SIGCHLD);
    EXPECT_EQ(signal_number("SIGIOT").value_or(0), SIGABRT);
    EXPECT_EQ(signal_number("RTMIN").value_or(0), 34);
    EXPECT_EQ(signal_number("SIGRTMAX-14").value_or(0), 50);
}

TEST(StopSignal, OtherWordsAreNone) {
    EXPECT_FALSE(signal_number("").has_value());
    EXPECT_FALSE(signal_number("0").has_value());
    EXPECT_FALSE(signal_number("65").has_value());
    EXPECT_FALSE(signal_number("-9").has_value());
    EXPECT_FALSE(signal_number("SIGTERM+1").has_value());
    EXPECT_FALSE(signal_number("RTMIN+31").has_value());
    EXPECT_FALSE(signal_number("RTMAX--1").has_value());
    EXPECT_FALSE(signal_number("RTMAX-").has_value());
    ImageConfig image;
    image.stop_signal = "SIGNOT";
    EXPECT_EQ(stop_signal_of(v1::ContainerConfig(), image).error().message(),
              "image config: config.StopSignal: 'SIGNOT' is no signal");
}

TEST(StopSignal, IsOneOfCri) {
    EXPECT_EQ(to_signal(SIGTERM), v1::SIGNAL_SIGTERM);
    EXPECT_EQ(to_signal(SIGCHLD), v1::SIGNAL_SIGCHLD);
    EXPECT_EQ(to_signal(SIGABRT), v1::SIGNAL_SIGABRT);
    EXPECT_EQ(to_signal(37), v1::SIGNAL_SIGRTMINPLUS3);
    EXPECT_EQ(to_signal(64), v1::SIGNAL_SIGRTMAX);
    EXPECT_EQ(to_signal(77), v1::SIGNAL_RUNTIME_DEFAULT);
}

TEST(StopSignal, EachOfCriIsOneOfLinux) {
    for (int value = 1; value <= v1::Signal_MAX; ++value) {
        v1::ContainerConfig container;
        container.set_stop_signal(static_cast<v1::Signal>(value));
        const int number = stop_signal_of(container, ImageConfig()).value_or(0);
        EXPECT_NE(number, 0) << value;
        container.set_stop_signal(to_signal(number));
        EXPECT_EQ(stop_signal_of(container, ImageConfig()).value_or(0), number) << value;
    }
}

}  // namespace
}  // namespace pepita::cri
