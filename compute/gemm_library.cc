#include "compute/gemm_library.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "compute/simd/matrix_kernels.h"

namespace pepita::compute {
namespace {

/// From the headers of CBLAS.
constexpr int kRowMajor = 101;
constexpr int kAsIs = 111;
constexpr int kTransposed = 112;

/// A matrix as BLAS knows it: rows next to each other, or the transpose of such a matrix.
struct Form {
    bool transposed;
    std::size_t stride;
};

std::optional<Form> form_of(std::size_t rows, std::size_t columns, std::size_t row_stride,
                            std::size_t column_stride) {
    constexpr auto stride_max = static_cast<std::size_t>(std::numeric_limits<int>::max());
    if (column_stride == 1 && row_stride >= columns && row_stride <= stride_max) {
        return Form{.transposed = false, .stride = row_stride};
    }
    if (row_stride == 1 && column_stride >= rows && column_stride <= stride_max) {
        return Form{.transposed = true, .stride = column_stride};
    }
    return std::nullopt;
}

template <typename Function>
Result<Function> symbol(void* library, std::string_view file, const char* name) {
    void* found = ::dlsym(library, name);
    if (found == nullptr) {
        return Error(Code::NotFound, "no " + std::string(name) + " in '" + std::string(file) + "'");
    }
    // SAFETY: POSIX has dlsym() return functions so; the types are from the libraries' headers.
    return reinterpret_cast<Function>(found);
}

constexpr std::size_t kProbeSize = 256;
constexpr int kProbeRounds = 4;

template <typename Body>
double best_seconds(const Body& body) {
    double best = HUGE_VAL;
    for (int round = 0; round < kProbeRounds; ++round) {
        const auto start = std::chrono::steady_clock::now();
        body();
        const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
        best = std::min(best, took.count());
    }
    return best;
}

/// Why `library` is not to be used instead of `own`; empty: nothing.
std::string fault_of(const GemmLibrary& library, const MatrixOps& own) {
    constexpr std::size_t n = kProbeSize;
    std::vector<float> a(n * n);
    for (std::size_t i = 0; i < a.size(); ++i) {
        a[i] = static_cast<float>(i % 17) - 8;  // all sums are integers, and exact
    }
    std::vector<float> expected(n * n);
    std::vector<float> got(n * n);
    const auto in = dense(std::span<const float>(a), n, n);
    const double own_best = best_seconds(
        [&] { (void)own.f32.matmul(in, in, dense(std::span<float>(expected), n, n)); });
    const detail::Multiplication<float> work{.m = n,
                                             .n = n,
                                             .k = n,
                                             .a = a.data(),
                                             .a_row_stride = n,
                                             .a_column_stride = 1,
                                             .b = a.data(),
                                             .b_row_stride = n,
                                             .b_column_stride = 1,
                                             .c = got.data(),
                                             .c_row_stride = n,
                                             .c_column_stride = 1,
                                             .alpha = 1,
                                             .beta = 0};
    const double its_best = best_seconds([&] { (void)library.multiply(work); });
    if (got != expected) {
        return "computes wrongly on this processor";
    }
    return its_best < own_best ? "" : "is not faster";
}

}  // namespace

std::string_view to_string(GemmLibrary::Name name) {
    return name == GemmLibrary::Name::OneDnn ? "oneDNN" : "OpenBLAS";
}

Result<std::unique_ptr<GemmLibrary>> GemmLibrary::open(Name name) {
    const std::string file(name == Name::OneDnn ? kOneDnnFile : kOpenBlasFile);
    void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (handle == nullptr) {
        return Error(Code::NotFound, "load " + std::string(::dlerror()));
    }
    auto library = std::unique_ptr<GemmLibrary>(new GemmLibrary(name));
    if (name == Name::OneDnn) {
        library->one_dnn_ = TRY(symbol<OneDnnSgemm>(handle, file, "dnnl_sgemm"));
        // OpenMP's, of the runtime that oneDNN brings.
        library->set_threads_ = TRY(symbol<SetThreads>(handle, file, "omp_set_num_threads"));
    } else {
        library->blas_ = TRY(symbol<BlasSgemm>(handle, file, "cblas_sgemm"));
        library->set_threads_ = TRY(symbol<SetThreads>(handle, file, "openblas_set_num_threads"));
        library->set_threads_(1);  // of the process
    }
    return library;
}

Result<std::unique_ptr<GemmLibrary>> GemmLibrary::open_faster_than(const MatrixOps& own) {
    std::string reasons;
    for (const Name name : {Name::OneDnn, Name::OpenBlas}) {
        auto library = open(name);
        const std::string fault =
            library ? fault_of(**library, own) : "is missing: " + library.error().message();
        if (fault.empty()) {
            return library;
        }
        reasons += (reasons.empty() ? "" : "; ") + std::string(to_string(name)) + " " + fault;
    }
    return Error(Code::NotFound, reasons);
}

bool GemmLibrary::multiply(const detail::Multiplication<float>& work) const {
    const auto a = form_of(work.m, work.k, work.a_row_stride, work.a_column_stride);
    const auto b = form_of(work.k, work.n, work.b_row_stride, work.b_column_stride);
    const auto c = form_of(work.m, work.n, work.c_row_stride, work.c_column_stride);
    constexpr auto size_max = static_cast<std::size_t>(std::numeric_limits<int>::max());
    if (!a || !b || !c || c->transposed || work.k == 0 ||
        std::max({work.m, work.n, work.k}) > size_max) {
        return false;
    }
    const auto m = static_cast<int>(work.m);
    const auto n = static_cast<int>(work.n);
    const auto k = static_cast<int>(work.k);
    const auto a_stride = static_cast<int>(a->stride);
    const auto b_stride = static_cast<int>(b->stride);
    const auto c_stride = static_cast<int>(c->stride);
    if (one_dnn_ != nullptr) {
        set_threads_(1);  // of this thread
        return one_dnn_(a->transposed ? 'T' : 'N', b->transposed ? 'T' : 'N', m, n, k, work.alpha,
                        work.a, a_stride, work.b, b_stride, work.beta, work.c, c_stride) == 0;
    }
    blas_(kRowMajor, a->transposed ? kTransposed : kAsIs, b->transposed ? kTransposed : kAsIs, m, n,
          k, work.alpha, work.a, a_stride, work.b, b_stride, work.beta, work.c, c_stride);
    return true;
}

}  // namespace pepita::compute
