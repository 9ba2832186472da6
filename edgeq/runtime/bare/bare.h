/* The few things of a C library that the runtime uses, for a library that may not need one: Android's gives no stable way
 * to be linked without its own toolchain, and what needs nothing loads everywhere. Headers in include/ stand in for libc's,
 * so that the runtime's files are the same in every build.
 * Rules: system calls of Linux alone; no thread-local storage (tpidr_el0 is the caller's libc's), no register x18 (Android
 * keeps the shadow call stack there), nothing that libc would have to know of. */
#ifndef EDGEQ_BARE_H
#define EDGEQ_BARE_H
#include <sys/syscall.h>

#ifndef __aarch64__
#error "the runtime without libc knows aarch64"
#endif

/* Linux's calling convention: the number in x8, the result in x0, -4095..-1 is a negative error number. */
static inline long edgeq_call(long number, long a, long b, long c, long d, long e, long f)
{
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d, x4 __asm__("x4") = e, x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory", "cc");
  return x0;
}

static inline long edgeq_call1(long number, long a) { return edgeq_call(number, a, 0, 0, 0, 0, 0); }
static inline long edgeq_call3(long number, long a, long b, long c) { return edgeq_call(number, a, b, c, 0, 0, 0); }
static inline long edgeq_call4(long number, long a, long b, long c, long d) { return edgeq_call(number, a, b, c, d, 0, 0); }

/* What a function of libc would return: -1 for an error, which `errno` then says. */
long edgeq_result(long result);
#endif
