/* No function of libm: what the compiler does with an instruction or two. */
#ifndef EDGEQ_BARE_MATH_H
#define EDGEQ_BARE_MATH_H
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
#define fabs(x) __builtin_fabs(x)
#define fabsf(x) __builtin_fabsf(x)
#define isfinite(x) __builtin_isfinite(x)
#define isinf(x) __builtin_isinf(x)
#define isnan(x) __builtin_isnan(x)
#define signbit(x) __builtin_signbit(x)
#endif
