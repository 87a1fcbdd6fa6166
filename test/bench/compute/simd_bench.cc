// Products of matrices and operations on vectors: these kernels, oneDNN, OpenBLAS and Eigen in
// turn, in one run. One thread and its processor time, because the machine is shared; the best of
// the rounds, because what disturbs a loop only slows it; and the ratio beside the speed.
//
// Run with OPENBLAS_CORETYPE unset: with it, OpenBLAS uses a kernel that may be half as fast.
// Anchors that are not installed are said to be missing.

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "compute/gemm_library.h"
#include "compute/matrix.h"
#include "compute/simd.h"

#if PEPITA_HAVE_EIGEN
#include <Eigen/Core>
#endif
#if PEPITA_HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>
#endif
#if PEPITA_HAVE_OPENBLAS
extern "C" {
void openblas_set_num_threads(int count);
char* openblas_get_corename();
void cblas_sgemm(int order, int a_form, int b_form, int m, int n, int k, float alpha,
                 const float* a, int a_stride, const float* b, int b_stride, float beta, float* c,
                 int c_stride);
float cblas_sdot(int n, const float* x, int x_step, const float* y, int y_step);
void cblas_saxpy(int n, float a, const float* x, int x_step, float* y, int y_step);
}
#endif

namespace {

using namespace pepita::compute;

constexpr int kRounds = 7;

double now() {
    timespec time{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

struct Candidate {
    std::string name;
    std::function<void()> run;
    double seconds = HUGE_VAL;  // the best, for one call
};

/// Runs all in turn; the first is ours.
void compare(const std::string& what, double amount, const char* unit,
             std::vector<Candidate> candidates) {
    for (Candidate& each : candidates) {
        each.run();
    }
    const double start = now();
    candidates.front().run();
    const double once = std::max(now() - start, 1e-8);
    const int calls = std::max(1, static_cast<int>(0.03 / once));
    for (int round = 0; round < kRounds; ++round) {
        for (Candidate& each : candidates) {
            const double from = now();
            for (int i = 0; i < calls; ++i) {
                each.run();
            }
            each.seconds = std::min(each.seconds, (now() - from) / calls);
        }
    }
    std::printf("%-24s %8.1f %s", what.c_str(), amount / candidates.front().seconds * 1e-9, unit);
    for (std::size_t i = 1; i < candidates.size(); ++i) {
        std::printf("  %s %8.1f ratio %.2f", candidates[i].name.c_str(),
                    amount / candidates[i].seconds * 1e-9,
                    candidates[i].seconds / candidates.front().seconds);
    }
    std::printf("\n");
}

std::vector<float> numbers(std::size_t count, float step) {
    std::vector<float> made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i] = std::sin(static_cast<float>(i % 1009) * step);
    }
    return made;
}

#if PEPITA_HAVE_EIGEN
using EigenMatrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using EigenVector = Eigen::VectorXf;
#endif

/// With the library that the probe chose, beside our own kernel.
void compare_library(std::size_t n) {
    MatrixOps ops;
    const auto library = GemmLibrary::open_faster_than(ops);
    if (!library) {
        std::printf("no library is taken: %s\n", library.error().message().c_str());
        return;
    }
    const auto a = numbers(n * n, 0.37F);
    std::vector<float> c(n * n);
    const auto in = dense(std::span<const float>(a), n, n);
    const auto out = dense(std::span(c), n, n);
    const MatrixOps own = ops;
    ops.use(**library);
    compare("sgemm " + std::to_string(n) + ", " + std::string(to_string((*library)->name())),
            2.0 * static_cast<double>(n * n * n), "GFLOP/s",
            {{"pepita", [&] { (void)ops.f32.matmul(in, in, out); }},
             {"own kernel", [&] { (void)own.f32.matmul(in, in, out); }}});
}

void compare_products(const MatrixOps& ops, std::size_t n) {
    const auto a = numbers(n * n, 0.37F);
    const auto b = numbers(n * n, 0.71F);
    std::vector<float> c(n * n);
    std::vector<float> other(n * n);
    const auto size = static_cast<int>(n);
    std::vector<Candidate> candidates{{"pepita", [&] {
                                           (void)ops.f32.matmul(dense(std::span(a), n, n),
                                                                dense(std::span(b), n, n),
                                                                dense(std::span(c), n, n));
                                       }}};
#if PEPITA_HAVE_DNNL
    candidates.push_back({"oneDNN", [&] {
                              dnnl_sgemm('N', 'N', size, size, size, 1, a.data(), size, b.data(),
                                         size, 0, other.data(), size);
                          }});
#endif
#if PEPITA_HAVE_OPENBLAS
    candidates.push_back({"OpenBLAS", [&] {
                              cblas_sgemm(101, 111, 111, size, size, size, 1, a.data(), size,
                                          b.data(), size, 0, other.data(), size);
                          }});
#endif
#if PEPITA_HAVE_EIGEN
    candidates.push_back({"Eigen", [&] {
                              Eigen::Map<EigenMatrix>(other.data(), size, size).noalias() =
                                  Eigen::Map<const EigenMatrix>(a.data(), size, size) *
                                  Eigen::Map<const EigenMatrix>(b.data(), size, size);
                          }});
#endif
    compare("sgemm " + std::to_string(n), 2.0 * static_cast<double>(n * n * n), "GFLOP/s",
            std::move(candidates));
    float worst = 0;
    for (std::size_t i = 0; i < n * n; ++i) {
        worst = std::max(worst, std::abs(c[i] - other[i]));
    }
    if (worst > 0.01F * std::sqrt(static_cast<float>(n))) {
        std::printf("sgemm %zu: WRONG by %g\n", n, static_cast<double>(worst));
    }
}

void compare_vectors(const SimdOps& ops, std::size_t bytes) {
    const std::size_t n = bytes / sizeof(float);
    const auto a = numbers(n, 0.37F);
    const auto b = numbers(n, 0.71F);
    std::vector<float> c(n);
    volatile float kept = 0;  // so that no sum is left out
    std::vector<Candidate> add{{"pepita", [&] { (void)ops.f32.add(a, b, c); }}};
    std::vector<Candidate> dot{{"pepita", [&] { kept = *ops.f32.dot(a, b); }}};
    std::vector<Candidate> axpy{{"pepita", [&] { (void)ops.f32.axpy(1e-9F, a, c); }}};
#if PEPITA_HAVE_EIGEN
    const auto count = static_cast<Eigen::Index>(n);
    add.push_back({"Eigen", [&] {
                       Eigen::Map<EigenVector>(c.data(), count) =
                           Eigen::Map<const EigenVector>(a.data(), count) +
                           Eigen::Map<const EigenVector>(b.data(), count);
                   }});
    dot.push_back({"Eigen", [&] {
                       kept = Eigen::Map<const EigenVector>(a.data(), count)
                                  .dot(Eigen::Map<const EigenVector>(b.data(), count));
                   }});
    axpy.push_back({"Eigen", [&] {
                        Eigen::Map<EigenVector>(c.data(), count) +=
                            1e-9F * Eigen::Map<const EigenVector>(a.data(), count);
                    }});
#endif
#if PEPITA_HAVE_OPENBLAS
    const auto length = static_cast<int>(n);
    dot.push_back({"OpenBLAS", [&] { kept = cblas_sdot(length, a.data(), 1, b.data(), 1); }});
    axpy.push_back({"OpenBLAS", [&] { cblas_saxpy(length, 1e-9F, a.data(), 1, c.data(), 1); }});
#endif
    const std::string size = " " + std::to_string(bytes >> 10U) + " KiB";
    const auto moved = static_cast<double>(bytes);
    compare("vadd" + size, 3 * moved, "GB/s", std::move(add));
    compare("dot" + size, 2 * moved, "GB/s", std::move(dot));
    compare("axpy" + size, 3 * moved, "GB/s", std::move(axpy));
}

}  // namespace

int main() {
    ::setenv("OMP_NUM_THREADS", "1", 1);
    const SimdCapabilities capabilities = SimdCapabilities::detect();
    std::printf("pepita on %s, last cache %llu KiB\n",
                std::string(to_string(capabilities.best())).c_str(),
                static_cast<unsigned long long>(capabilities.last_cache.value() >> 10U));
#if PEPITA_HAVE_OPENBLAS
    openblas_set_num_threads(1);
    const char* core = std::getenv("OPENBLAS_CORETYPE");
    std::printf("OpenBLAS's core: %s; OPENBLAS_CORETYPE is %s\n", openblas_get_corename(),
                core == nullptr ? "not set" : core);
#else
    std::printf("OpenBLAS is not installed (libopenblas-dev): no anchor\n");
#endif
#if !PEPITA_HAVE_DNNL
    std::printf("oneDNN is not installed (libdnnl-dev): no anchor\n");
#endif
#if !PEPITA_HAVE_EIGEN
    std::printf("Eigen is not installed (libeigen3-dev): no anchor\n");
#endif
    const MatrixOps matrices;
    for (const std::size_t n :
         {std::size_t{256}, std::size_t{512}, std::size_t{1024}, std::size_t{2048}}) {
        compare_products(matrices, n);
    }
    compare_library(1024);
    const SimdOps vectors;
    for (const std::size_t kibibytes : std::initializer_list<std::size_t>{4, 128, 4096, 262'144}) {
        compare_vectors(vectors, kibibytes << 10U);
    }
    return 0;
}
