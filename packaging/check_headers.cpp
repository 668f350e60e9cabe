// Compiled, never linked, with the target's compiler and the build machine's Python headers: what
// pyconfig.h says about sizes must hold on the target. A header meant for another data model fails.
#include <Python.h>

#include <cstddef>
#include <cstdint>

static_assert(SIZEOF_SHORT == sizeof(short));
static_assert(SIZEOF_INT == sizeof(int));
static_assert(SIZEOF_LONG == sizeof(long));
static_assert(SIZEOF_LONG_LONG == sizeof(long long));
static_assert(SIZEOF_VOID_P == sizeof(void*));
static_assert(SIZEOF_SIZE_T == sizeof(std::size_t));
static_assert(SIZEOF_OFF_T == sizeof(off_t));
static_assert(SIZEOF_TIME_T == sizeof(time_t));
static_assert(SIZEOF_PTHREAD_T == sizeof(pthread_t));
static_assert(SIZEOF_FLOAT == sizeof(float));
static_assert(SIZEOF_DOUBLE == sizeof(double));
static_assert(SIZEOF_LONG_DOUBLE == sizeof(long double));
static_assert(SIZEOF_WCHAR_T == sizeof(wchar_t));
static_assert(SIZEOF__BOOL == sizeof(bool));
static_assert(ALIGNOF_LONG == alignof(long));
static_assert(ALIGNOF_SIZE_T == alignof(std::size_t));
#ifdef WORDS_BIGENDIAN
static_assert(__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__);
#else
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);
#endif
