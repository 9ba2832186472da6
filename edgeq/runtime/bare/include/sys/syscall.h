/* Numbers of arm64's system calls (asm-generic/unistd.h). */
#ifndef EDGEQ_BARE_SYS_SYSCALL_H
#define EDGEQ_BARE_SYS_SYSCALL_H
#define SYS_openat 56
#define SYS_close 57
#define SYS_read 63
#define SYS_newfstatat 79
#define SYS_fstat 80
#define SYS_exit 93
#define SYS_futex 98
#define SYS_clock_gettime 113
#define SYS_sched_setaffinity 122
#define SYS_sched_getaffinity 123
#define SYS_sched_yield 124
#define SYS_rt_sigprocmask 135
#define SYS_uname 160
#define SYS_getcpu 168
#define SYS_getpid 172
#define SYS_gettid 178
#define SYS_munmap 215
#define SYS_clone 220
#define SYS_mmap 222
#define SYS_mprotect 226
#define SYS_madvise 233
#endif
