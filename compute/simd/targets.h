#pragma once

// Which of Highway's targets the kernels are compiled for, and their namespaces. Included before
// Highway. SSSE3 and AVX3_DL add a third to the time of compiling and no speed to these kernels.

#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL)
// One lane at a time below SSE4, for both compilers: g++ 12.2 miscompiles the other choice.
#define HWY_BROKEN_EMU128 1
// Its assertions call its library, which is not linked.
#define HWY_IS_DEBUG_BUILD 0

#ifdef __clang_analyzer__  // clang-tidy reads one target: the others are the same source
#define HWY_COMPILE_ONLY_STATIC
#define PEPITA_SIMD_SSE4 N_SCALAR
#define PEPITA_SIMD_AVX2 N_SCALAR
#define PEPITA_SIMD_AVX512 N_SCALAR
#else
#define PEPITA_SIMD_SSE4 N_SSE4
#define PEPITA_SIMD_AVX2 N_AVX2
#define PEPITA_SIMD_AVX512 N_AVX3
#endif
