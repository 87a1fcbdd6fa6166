#include "cri/grpc_server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp
#include <sys/stat.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel-abi/sys/error.h"
#include "kernel-abi/sys/event_loop.h"
#include "kernel-abi/sys/result.h"

namespace pepita::cri {
namespace {

constexpr const char* kMethod = "/runtime.v1.RuntimeService/Version";

struct Answer {
    grpc::Status status;
    std::vector<std::string> messages;
};

std::string text_of(const grpc::ByteBuffer& buffer) {
    grpc::Slice slice;
    EXPECT_TRUE(buffer.DumpToSingleSlice(&slice).ok());
    // SAFETY: bytes of a message are text to std::string.
    return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
}

/// A client that waits for each step of one call.
class Client {
public:
    Client(const std::string& socket, const std::string& method)
        : stub_(grpc::CreateChannel("unix:" + socket, grpc::InsecureChannelCredentials())),
          call_(stub_.PrepareCall(&context_, method, &queue_)) {
        call_->StartCall(this);
        EXPECT_TRUE(wait());
    }
    ~Client() {
        queue_.Shutdown();
        void* tag = nullptr;
        bool is_ok = false;
        while (queue_.Next(&tag, &is_ok)) {}
    }

    void send(const std::string& request) {
        const grpc::Slice slice(request);
        call_->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), this);
        (void)wait();
    }
    std::optional<std::string> read() {
        grpc::ByteBuffer buffer;
        call_->Read(&buffer, this);
        return wait() ? std::optional(text_of(buffer)) : std::nullopt;
    }
    grpc::Status finish() {
        grpc::Status status;
        call_->Finish(&status, this);
        EXPECT_TRUE(wait());
        return status;
    }
    Answer answer() {
        Answer answer;
        while (auto message = read()) {
            answer.messages.push_back(*std::move(message));
        }
        answer.status = finish();
        return answer;
    }
    void cancel() { context_.TryCancel(); }

private:
    bool wait() {
        void* tag = nullptr;
        bool is_ok = false;
        return queue_.Next(&tag, &is_ok) && is_ok;
    }

    grpc::CompletionQueue queue_;
    grpc::ClientContext context_;
    grpc::GenericStub stub_;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> call_;
};

class GrpcServerTest : public testing::Test {
protected:
    GrpcServerTest() { EXPECT_NE(::mkdtemp(directory_.data()), nullptr); }
    ~GrpcServerTest() override { std::filesystem::remove_all(directory_); }

    std::string socket() const { return directory_ + "/cri.sock"; }

    void serve(GrpcServer::OnCall on_call, GrpcServer::Options options = {}) {
        options.socket = socket();
        auto server = GrpcServer::create(*loop_, std::move(options), std::move(on_call));
        ASSERT_TRUE(server.has_value()) << server.error().message();
        server_ = *std::move(server);
    }
    /// Runs `client` on a thread of its own, and the loop until it is done.
    template <typename Function>
    void with_client(Function client) {
        std::thread thread([&] {
            client();
            loop_->stop();
        });
        EXPECT_TRUE(loop_->run());
        thread.join();
    }
    Answer ask(const std::string& request, const char* method = kMethod) {
        Answer answer;
        with_client([&] {
            Client client(socket(), method);
            client.send(request);
            answer = client.answer();
        });
        return answer;
    }

    std::string directory_ = "/tmp/pepita-grpc-XXXXXX";
    std::unique_ptr<EventLoop> loop_ = *EventLoop::create();
    std::unique_ptr<GrpcServer> server_;
};

TEST_F(GrpcServerTest, AnswersWithWhatTheHandlerSaysOfMethodAndRequest) {
    serve([](GrpcCall call) {
        call.write(call.method() + " " + call.take_request());
        call.finish({});
    });
    const Answer answer = ask(std::string("a\0b", 3));
    EXPECT_TRUE(answer.status.ok());
    EXPECT_EQ(answer.messages,
              std::vector{"/runtime.v1.RuntimeService/Version a" + std::string("\0b", 2)});
}

TEST_F(GrpcServerTest, AnErrorIsAStatusWithItsCodeAndMessage) {
    serve([](GrpcCall call) { call.finish(Error(Code::NotFound, "pod 'x' does not exist")); });
    const Answer answer = ask("");
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::NOT_FOUND);
    EXPECT_EQ(answer.status.error_message(), "pod 'x' does not exist");
    EXPECT_TRUE(answer.messages.empty());
}

TEST_F(GrpcServerTest, WordsThatTheKubeletLooksForComeWithTheCodeThatItWants) {
    serve([](GrpcCall call) {
        call.finish(Error(Code::Unavailable, "RegistryUnavailable: nobody answers"));
    });
    const Answer answer = ask("");
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNKNOWN);
    EXPECT_EQ(answer.status.error_message(), "RegistryUnavailable: nobody answers");
}

TEST_F(GrpcServerTest, AnAnswerMayComeLaterAndInManyMessages) {
    constexpr int count = 500;
    EventLoop::Timer later;
    serve([&](GrpcCall call) {
        later = loop_->after(std::chrono::milliseconds(1),
                             [call = std::make_shared<GrpcCall>(std::move(call))] {
                                 for (int number = 0; number < count; ++number) {
                                     call->write(std::to_string(number));
                                 }
                                 call->finish({});
                             });
    });
    const Answer answer = ask("");
    EXPECT_TRUE(answer.status.ok());
    ASSERT_EQ(answer.messages.size(), count);
    EXPECT_EQ(answer.messages.front(), "0");
    EXPECT_EQ(answer.messages.back(), std::to_string(count - 1));
}

TEST_F(GrpcServerTest, ACallThatIsDroppedIsInternal) {
    serve([](const GrpcCall& /*call*/) {});
    const Answer answer = ask("");
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::INTERNAL);
    EXPECT_NE(answer.status.error_message().find(kMethod), std::string::npos);
}

TEST_F(GrpcServerTest, ARequestThatIsTooLargeNeverArrives) {
    bool has_come = false;
    serve([&](const GrpcCall& /*call*/) { has_come = true; },
          {.socket = "",
           .request_bytes_max = 1000,
           .calls_max = 8,
           .request_timeout = std::chrono::seconds(30)});
    EXPECT_FALSE(ask(std::string(1001, 'x')).status.ok());
    EXPECT_FALSE(has_come);
}

TEST_F(GrpcServerTest, ARequestThatDoesNotComeEndsTheCall) {
    serve([](const GrpcCall& /*call*/) { FAIL(); },
          {.socket = "",
           .request_bytes_max = 1000,
           .calls_max = 8,
           .request_timeout = std::chrono::milliseconds(20)});
    Answer answer;
    with_client([&] {
        Client client(socket(), kMethod);
        answer = client.answer();
    });
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(GrpcServerTest, OneCallTooManyIsRefusedUntilAnotherHasEnded) {
    std::vector<GrpcCall> waiting;
    serve([&](GrpcCall call) { waiting.push_back(std::move(call)); },
          {.socket = "",
           .request_bytes_max = 1000,
           .calls_max = 1,
           .request_timeout = std::chrono::seconds(30)});
    Answer refused;
    Answer first;
    with_client([&] {
        Client one(socket(), kMethod);
        one.send("");
        Client two(socket(), kMethod);
        refused = two.answer();
        loop_->post([&] { waiting.front().finish({}); });
        first = one.answer();
    });
    EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_TRUE(first.status.ok());
}

TEST_F(GrpcServerTest, ACallThatIsCancelledIsOver) {
    std::unique_ptr<GrpcCall> waiting;
    serve([&](GrpcCall call) {
        call.write("first");
        waiting = std::make_unique<GrpcCall>(std::move(call));
    });
    EventLoop::Timer look;
    const std::function<void()> wait_until_over = [&] {
        if (waiting->is_over()) {
            return loop_->stop();
        }
        look = loop_->after(std::chrono::milliseconds(1), wait_until_over);
    };
    std::thread client([&] {
        Client one(socket(), kMethod);
        one.send("");
        EXPECT_EQ(one.read(), "first");
        one.cancel();
        loop_->post(wait_until_over);
        EXPECT_EQ(one.finish().error_code(), grpc::StatusCode::CANCELLED);
    });
    EXPECT_TRUE(loop_->run());
    client.join();
    waiting->write("nobody reads it");
    waiting->finish({});
}

TEST_F(GrpcServerTest, AServerThatGoesEndsWhatIsInProgress) {
    std::unique_ptr<GrpcCall> waiting;
    serve([&](GrpcCall call) {
        waiting = std::make_unique<GrpcCall>(std::move(call));
        loop_->stop();
    });
    Answer answer;
    std::thread client([&] {
        Client one(socket(), kMethod);
        one.send("");
        answer = one.answer();
    });
    EXPECT_TRUE(loop_->run());
    server_.reset();
    client.join();
    EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(GrpcServerTest, TheSocketIsRootsAlone) {
    serve([](const GrpcCall& /*call*/) {});
    struct stat status{};
    ASSERT_EQ(::stat(socket().c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777U, 0600U);
}

TEST_F(GrpcServerTest, APlaceThatIsNoneIsNamed) {
    const auto server = GrpcServer::create(*loop_, {.socket = directory_ + "/missing/cri.sock"},
                                           [](const GrpcCall& /*call*/) {});
    ASSERT_FALSE(server.has_value());
    EXPECT_NE(server.error().message().find("/missing/cri.sock"), std::string::npos);
}

}  // namespace
}  // namespace pepita::cri
