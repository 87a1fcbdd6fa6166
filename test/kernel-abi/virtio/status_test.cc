#include "kernel-abi/virtio/status.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "kernel-abi/uapi/virtio_config.h"

namespace pepita::virtio {
namespace {

constexpr std::uint8_t kAck = abi::kVirtioStatusAcknowledge;
constexpr std::uint8_t kDriver = kAck | abi::kVirtioStatusDriver;
constexpr std::uint8_t kFeatures = kDriver | abi::kVirtioStatusFeaturesOk;
constexpr std::uint8_t kRunning = kFeatures | abi::kVirtioStatusDriverOk;

class StatusTest : public testing::Test {
protected:
    void to_driver() {
        (void)status_.write(kAck);
        (void)status_.write(kDriver);
    }
    void to_features() {
        to_driver();
        status_.accept(1, 1);
        (void)status_.write(kFeatures);
    }

    Status status_{0b101};  // and VERSION_1, bit 32, of itself
};

TEST_F(StatusTest, OffersVersion1ByItself) {
    EXPECT_EQ(status_.offered(0), 0b101U);
    EXPECT_EQ(status_.offered(1), 1U);
    EXPECT_EQ(status_.offered(2), 0U);
}

TEST_F(StatusTest, WholeNegotiationStarts) {
    to_driver();
    status_.accept(0, 0b100);
    status_.accept(1, 1);
    EXPECT_EQ(status_.write(kFeatures), Status::Step::None);
    EXPECT_EQ(status_.value(), kFeatures);
    EXPECT_EQ(status_.write(kRunning), Status::Step::Started);
    EXPECT_TRUE(status_.is_running());
    EXPECT_EQ(status_.features(), abi::kVirtioFVersion1 | 0b100);
}

TEST_F(StatusTest, AcknowledgeAndDriverMayComeTogether) {
    EXPECT_EQ(status_.write(kDriver), Status::Step::None);
    EXPECT_EQ(status_.value(), kDriver);
}

TEST_F(StatusTest, StepOutOfOrderIsNotTaken) {
    EXPECT_EQ(status_.write(abi::kVirtioStatusDriver), Status::Step::None);
    EXPECT_EQ(status_.value(), 0);
    (void)status_.write(kAck);
    EXPECT_EQ(status_.write(kAck | abi::kVirtioStatusFeaturesOk), Status::Step::None);
    EXPECT_EQ(status_.value(), kAck);
    (void)status_.write(kDriver);
    EXPECT_EQ(status_.write(kDriver | abi::kVirtioStatusDriverOk), Status::Step::None);
    EXPECT_EQ(status_.value(), kDriver);
}

TEST_F(StatusTest, DriverOkNeedsFeaturesOkThatWasSeen) {
    to_driver();
    status_.accept(1, 1);
    EXPECT_EQ(status_.write(kRunning), Status::Step::None);
    EXPECT_EQ(status_.value(), kFeatures);
}

TEST_F(StatusTest, FeaturesWithoutVersion1AreRefused) {
    to_driver();
    status_.accept(0, 0b1);
    (void)status_.write(kFeatures);
    EXPECT_EQ(status_.value(), kDriver);
}

TEST_F(StatusTest, FeaturesThatWereNotOfferedAreRefused) {
    to_driver();
    status_.accept(0, 0b10);
    status_.accept(1, 1);
    (void)status_.write(kFeatures);
    EXPECT_EQ(status_.value(), kDriver);
    status_.accept(0, 0);
    (void)status_.write(kFeatures);
    EXPECT_EQ(status_.value(), kFeatures);
}

// The class of Firecracker's #5818.
TEST_F(StatusTest, FeaturesAreHeardBetweenDriverAndFeaturesOkOnly) {
    status_.accept(0, 0b1);
    (void)status_.write(kAck);
    status_.accept(0, 0b1);
    EXPECT_EQ(status_.features(), 0U);
    to_features();
    status_.accept(0, 0b101);
    EXPECT_EQ(status_.features(), abi::kVirtioFVersion1);
    (void)status_.write(kRunning);
    status_.accept(1, 0);
    EXPECT_EQ(status_.features(), abi::kVirtioFVersion1);
}

TEST_F(StatusTest, BitThatIsSetStaysSet) {
    to_features();
    EXPECT_EQ(status_.write(kDriver), Status::Step::None);
    EXPECT_EQ(status_.value(), kFeatures);
    EXPECT_EQ(status_.write(abi::kVirtioStatusDriverOk), Status::Step::None);
    EXPECT_EQ(status_.value(), kFeatures);
}

TEST_F(StatusTest, SecondDriverOkStartsNothing) {
    to_features();
    EXPECT_EQ(status_.write(kRunning), Status::Step::Started);
    EXPECT_EQ(status_.write(kRunning), Status::Step::None);
}

TEST_F(StatusTest, ResetKeepsTheStatusUntilItIsFinished) {
    to_features();
    (void)status_.write(kRunning);
    EXPECT_EQ(status_.write(0), Status::Step::Reset);
    EXPECT_EQ(status_.value(), kRunning);
    status_.finish_reset();
    EXPECT_EQ(status_.value(), 0);
    EXPECT_EQ(status_.features(), 0U);
    to_features();
    EXPECT_EQ(status_.write(kRunning), Status::Step::Started);
}

TEST_F(StatusTest, NothingButAResetHelpsAfterNeedsReset) {
    to_features();
    (void)status_.write(kRunning);
    status_.set_needs_reset();
    EXPECT_FALSE(status_.is_running());
    EXPECT_EQ(status_.value(), kRunning | abi::kVirtioStatusNeedsReset);
    EXPECT_EQ(status_.write(kRunning | abi::kVirtioStatusNeedsReset), Status::Step::None);
    EXPECT_EQ(status_.write(0), Status::Step::Reset);
}

TEST_F(StatusTest, NothingButAResetHelpsAfterFailed) {
    to_driver();
    (void)status_.write(kDriver | abi::kVirtioStatusFailed);
    EXPECT_EQ(status_.value(), kDriver | abi::kVirtioStatusFailed);
    status_.accept(1, 1);
    EXPECT_EQ(status_.features(), 0U);
    (void)status_.write(kFeatures | abi::kVirtioStatusFailed);
    EXPECT_EQ(status_.value(), kDriver | abi::kVirtioStatusFailed);
}

TEST_F(StatusTest, DriverCannotClaimThatTheDeviceNeedsAReset) {
    (void)status_.write(kAck | abi::kVirtioStatusNeedsReset);
    EXPECT_EQ(status_.value(), kAck);
}

}  // namespace
}  // namespace pepita::virtio
