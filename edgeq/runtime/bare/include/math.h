/* No function of libm: the compiler's own tests alone. */
#ifndef EDGEQ_BARE_MATH_H
#define EDGEQ_BARE_MATH_H
#define isfinite(x) __builtin_isfinite(x)
#endif
