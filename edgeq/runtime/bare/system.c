/* Files, memory, clock, scheduler and signals: system calls under the names that libc gives them. */
#include "bare.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { SIGNAL_BYTES = 8 }; /* of the kernel's sigset */

int open(const char *path, int flags, ...) { return (int)edgeq_result(edgeq_call4(SYS_openat, AT_FDCWD, (long)path, flags, 0)); }

long read(int file, void *to, size_t bytes) { return edgeq_result(edgeq_call3(SYS_read, file, (long)to, (long)bytes)); }

int close(int file) { return (int)edgeq_result(edgeq_call1(SYS_close, file)); }

int stat(const char *path, struct stat *out)
{
  return (int)edgeq_result(edgeq_call4(SYS_newfstatat, AT_FDCWD, (long)path, (long)out, 0));
}

int fstat(int file, struct stat *out) { return (int)edgeq_result(edgeq_call3(SYS_fstat, file, (long)out, 0)); }

void *mmap(void *at, size_t bytes, int protection, int flags, int file, long offset)
{
  return (void *)edgeq_result(edgeq_call(SYS_mmap, (long)at, (long)bytes, protection, flags, file, offset));
}

int munmap(void *at, size_t bytes) { return (int)edgeq_result(edgeq_call3(SYS_munmap, (long)at, (long)bytes, 0)); }

int mprotect(void *at, size_t bytes, int protection)
{
  return (int)edgeq_result(edgeq_call3(SYS_mprotect, (long)at, (long)bytes, protection));
}

int madvise(void *at, size_t bytes, int advice)
{
  return (int)edgeq_result(edgeq_call3(SYS_madvise, (long)at, (long)bytes, advice));
}

/* Without the vDSO, which only the dynamic linker's libc knows how to find: some hundred nanoseconds instead of tens. */
int clock_gettime(int clock, struct timespec *out)
{
  return (int)edgeq_result(edgeq_call3(SYS_clock_gettime, clock, (long)out, 0));
}

/* The kernel writes as many bytes as it has CPUs for, and returns how many. */
int sched_getaffinity(pid_t thread, size_t bytes, cpu_set_t *set)
{
  CPU_ZERO(set);
  return edgeq_result(edgeq_call3(SYS_sched_getaffinity, thread, (long)bytes, (long)set)) < 0 ? -1 : 0;
}

int sched_setaffinity(pid_t thread, size_t bytes, const cpu_set_t *set)
{
  return (int)edgeq_result(edgeq_call3(SYS_sched_setaffinity, thread, (long)bytes, (long)set));
}

int sched_getcpu(void)
{
  unsigned cpu = 0;
  return edgeq_result(edgeq_call3(SYS_getcpu, (long)&cpu, 0, 0)) < 0 ? -1 : (int)cpu;
}

int sched_yield(void) { return (int)edgeq_result(edgeq_call1(SYS_sched_yield, 0)); }

int edgeq_cpu_count(const cpu_set_t *set)
{
  int count = 0;
  for (size_t i = 0; i < sizeof set->bits / sizeof *set->bits; i++) count += __builtin_popcountl(set->bits[i]);
  return count;
}

pid_t getpid(void) { return (pid_t)edgeq_call1(SYS_getpid, 0); }

int sigfillset(sigset_t *set)
{
  set->bits = ~0ul;
  return 0;
}

int sigdelset(sigset_t *set, int signal)
{
  set->bits &= ~(1ul << (signal - 1));
  return 0;
}

int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
  return (int)-edgeq_call4(SYS_rt_sigprocmask, how, (long)set, (long)old, SIGNAL_BYTES);
}

long syscall(long number, ...)
{
  long a[6];
  va_list arguments;
  va_start(arguments, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
  va_end(arguments);
  return edgeq_result(edgeq_call(number, a[0], a[1], a[2], a[3], a[4], a[5]));
}
