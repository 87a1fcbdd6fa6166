#include "cri/node_metrics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

using std::chrono::milliseconds;

TEST(NodeMetrics, ATimeIsInEveryBucketThatIsNotShorter) {
    Histogram histogram;
    histogram.observe(milliseconds(5));
    histogram.observe(milliseconds(2500));
    histogram.observe(std::chrono::hours(1));
    std::string text;
    histogram.append_to(text, "x", "a=\"b\"");
    EXPECT_TRUE(text.contains("x_bucket{a=\"b\",le=\"0.001\"} 0\n")) << text;
    EXPECT_TRUE(text.contains("x_bucket{a=\"b\",le=\"0.005\"} 1\n")) << text;
    EXPECT_TRUE(text.contains("x_bucket{a=\"b\",le=\"1\"} 1\n")) << text;
    EXPECT_TRUE(text.contains("x_bucket{a=\"b\",le=\"2.5\"} 2\n")) << text;
    EXPECT_TRUE(text.contains("x_bucket{a=\"b\",le=\"120\"} 2\n")) << text;
    EXPECT_TRUE(
        text.ends_with("x_bucket{a=\"b\",le=\"+Inf\"} 3\n"
                       "x_sum{a=\"b\"} 3602.505\n"
                       "x_count{a=\"b\"} 3\n"))
        << text;
}

TEST(NodeMetrics, CallsAreCountedByMethodAndEnd) {
    NodeMetrics metrics("1.2.3");
    metrics.observe_call("/runtime.v1.RuntimeService/Version", {}, milliseconds(1));
    metrics.observe_call("/runtime.v1.RuntimeService/Version", Error(Code::NotFound, "x"),
                         milliseconds(1));
    const std::string text =
        metrics.text({.pods_ready = 2, .containers_exited = 7, .image_bytes = 9});
    EXPECT_TRUE(text.contains("pepita_cri_requests_total{method=\"Version\",code=\"OK\"} 1\n"))
        << text;
    EXPECT_TRUE(text.contains("pepita_cri_requests_total{method=\"Version\",code=\"" +
                              std::string(to_string(Code::NotFound)) + "\"} 1\n"))
        << text;
    EXPECT_TRUE(text.contains("pepita_cri_request_seconds_count{method=\"Version\"} 2\n"));
    EXPECT_TRUE(text.contains("pepita_pods{state=\"ready\"} 2\n"));
    EXPECT_TRUE(text.contains("pepita_containers{state=\"exited\"} 7\n"));
    EXPECT_TRUE(text.contains("pepita_image_bytes 9\n"));
    EXPECT_TRUE(text.contains("pepita_build_info{version=\"1.2.3\"} 1\n"));
}

TEST(NodeMetrics, MethodsThatAreNotServedAreOne) {
    NodeMetrics metrics("1");
    for (int i = 0; i < 1000; ++i) {
        metrics.observe_call("/x/Method\"" + std::to_string(i), Error(Code::Unsupported, ""),
                             milliseconds(1));
    }
    const std::string text = metrics.text({});
    EXPECT_FALSE(text.contains("Method"));
    EXPECT_TRUE(text.contains("pepita_cri_request_seconds_count{method=\"other\"} 1000\n")) << text;
}

}  // namespace
}  // namespace pepita::cri
