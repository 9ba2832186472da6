/* edgeq_mark(id): an instruction without effect that ends one interval of the counting plugin (counter.c) and begins the
 * next, which then carries `id`, a constant 0..65535. Compilers emit neither form. On hardware it costs one nop. */
#ifndef EDGEQ_MARKER_H
#define EDGEQ_MARKER_H
#if defined(__aarch64__)
#define edgeq_mark(id) __asm__ volatile("movz xzr, #%c0" : : "i"(id) : "memory")
#elif defined(__x86_64__)
#define edgeq_mark(id) __asm__ volatile("nopl 0x45510000+%c0(%%rax,%%rax,1)" : : "i"(id) : "memory")
#else
#error "edgeq_mark: no marker instruction for this processor"
#endif
#endif
