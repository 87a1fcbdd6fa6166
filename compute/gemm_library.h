#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "compute/matrix.h"
#include "kernel-abi/sys/result.h"

namespace pepita::compute {

namespace detail {
template <typename T>
struct Multiplication;
}

/// The product of float matrices of a library that the host may have. Loaded when it is asked for,
/// never by itself: it is foreign code, with threads and variables of the environment of its own.
/// OpenBLAS follows OPENBLAS_CORETYPE.
class GemmLibrary {
public:
    enum class Name : std::uint8_t { OneDnn, OpenBlas };
    /// Both are one file name; the loader finds it.
    static constexpr std::string_view kOneDnnFile = "libdnnl.so.2";
    static constexpr std::string_view kOpenBlasFile = "libopenblas.so.0";

    /// It stays loaded for good, because its threads may run.
    /// Errors: NotFound if the loader does not find it, or not what we call in it.
    static Result<std::unique_ptr<GemmLibrary>> open(Name name);
    /// oneDNN, else OpenBLAS, where it agrees with `own` and is faster on a probe of some
    /// milliseconds.
    /// Errors: NotFound, which says why of each.
    static Result<std::unique_ptr<GemmLibrary>> open_faster_than(const MatrixOps& own);

    GemmLibrary(const GemmLibrary&) = delete;
    GemmLibrary& operator=(const GemmLibrary&) = delete;
    GemmLibrary(GemmLibrary&&) = delete;
    GemmLibrary& operator=(GemmLibrary&&) = delete;
    ~GemmLibrary() = default;

    Name name() const { return name_; }
    /// On this thread alone. False if the library has no such product: strides both ways, no depth,
    /// or more than 2^31 - 1 of a size.
    bool multiply(const detail::Multiplication<float>& work) const;

private:
    using OneDnnSgemm = int (*)(char, char, std::int64_t, std::int64_t, std::int64_t, float,
                                const float*, std::int64_t, const float*, std::int64_t, float,
                                float*, std::int64_t);
    using BlasSgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*,
                               int, float, float*, int);
    using SetThreads = void (*)(int);

    explicit GemmLibrary(Name name) : name_(name) {}

    Name name_;
    OneDnnSgemm one_dnn_ = nullptr;
    BlasSgemm blas_ = nullptr;
    SetThreads set_threads_ = nullptr;
};

std::string_view to_string(GemmLibrary::Name name);

}  // namespace pepita::compute
