#pragma once

/// Which lock guards what, for clang's analysis (-Wthread-safety, an error in builds with clang);
/// g++ sees nothing. Source: clang.llvm.org/docs/ThreadSafetyAnalysis.html.
#if defined(__clang__)
#define PEPITA_THREAD_ANNOTATION(attribute) __attribute__((attribute))
#else
#define PEPITA_THREAD_ANNOTATION(attribute)
#endif

#define PEPITA_LOCKABLE PEPITA_THREAD_ANNOTATION(capability("mutex"))
#define PEPITA_SCOPED_LOCK PEPITA_THREAD_ANNOTATION(scoped_lockable)

/// On a member: read and written only with `mutex` held.
#define PEPITA_GUARDED_BY(mutex) PEPITA_THREAD_ANNOTATION(guarded_by(mutex))

/// On a function: the caller holds `mutex`, or must not hold it.
#define PEPITA_REQUIRES(mutex) PEPITA_THREAD_ANNOTATION(requires_capability(mutex))
#define PEPITA_REQUIRES_SHARED(mutex) PEPITA_THREAD_ANNOTATION(requires_shared_capability(mutex))
#define PEPITA_EXCLUDES(mutex) PEPITA_THREAD_ANNOTATION(locks_excluded(mutex))

/// On the functions of a lock.
#define PEPITA_ACQUIRE(...) PEPITA_THREAD_ANNOTATION(acquire_capability(__VA_ARGS__))
#define PEPITA_ACQUIRE_SHARED(...) PEPITA_THREAD_ANNOTATION(acquire_shared_capability(__VA_ARGS__))
#define PEPITA_TRY_ACQUIRE(result) PEPITA_THREAD_ANNOTATION(try_acquire_capability(result))
#define PEPITA_RELEASE(...) PEPITA_THREAD_ANNOTATION(release_capability(__VA_ARGS__))
