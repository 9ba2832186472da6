/* Threads by clone(2). Each has a mapping of its own: a guard that no page size divides unevenly, then the stack, and at
 * its top what the thread is. The kernel clears `tid` and wakes whoever joins once the thread no longer needs its stack. */
#include "bare.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>

#define GUARD_BYTES (1 << 16) /* the largest page of arm64 */
#define STACK_BYTES (1 << 20)
/* CLONE_ VM, FS, FILES, SIGHAND, THREAD, SYSVSEM, PARENT_SETTID, CHILD_CLEARTID */
#define FLAGS (0x100 | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000 | 0x100000 | 0x200000)

struct edgeq_thread {
  _Alignas(16) void *map;
  size_t bytes;
  void *(*run)(void *);
  void *argument;
  _Atomic int tid; /* 0: gone */
};

/* Starts `run(thread)` on `stack`, which ends with exit(2) of that thread; returns its id or a negative error number. A new
 * thread has the caller's tpidr_el0: set to 0, so that whatever takes it for its own storage faults and harms nobody. */
__attribute__((naked)) static long start(long flags, void *stack, _Atomic int *parent_tid, _Atomic int *child_tid,
                                         void (*run)(pthread_t), pthread_t thread)
{
  __asm__("stp x4, x5, [x1, #-16]!\n"
          "mov x4, x3\n"
          "mov x3, xzr\n"
          "mov x8, %0\n"
          "svc 0\n"
          "cbz x0, 1f\n"
          "ret\n"
          "1: .cfi_undefined x30\n"
          "msr tpidr_el0, xzr\n"
          "mov x29, xzr\n"
          "mov x30, xzr\n"
          "ldp x1, x0, [sp], #16\n"
          "blr x1\n"
          "mov x0, xzr\n"
          "mov x8, %1\n"
          "svc 0\n" ::"i"(SYS_clone), "i"(SYS_exit));
}

static void run(pthread_t self) { self->run(self->argument); }

/* A mapping with the thread at the top of its stack; NULL when there is no room. */
static pthread_t allocate(size_t stack_bytes)
{
  size_t bytes = GUARD_BYTES + stack_bytes;
  uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (map == MAP_FAILED) return NULL;
  if (mprotect(map, GUARD_BYTES, PROT_NONE)) {
    munmap(map, bytes);
    return NULL;
  }
  pthread_t thread = (pthread_t)(void *)(map + bytes - sizeof *thread);
  thread->map = map;
  thread->bytes = bytes;
  return thread;
}

int pthread_create(pthread_t *out, const pthread_attr_t *attributes, void *(*function)(void *), void *argument)
{
  sigset_t all, old;
  pthread_t thread = allocate(attributes ? attributes->stack_bytes : STACK_BYTES);
  if (!thread) return ENOMEM;
  thread->run = function;
  thread->argument = argument;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  long id = start(FLAGS, thread, &thread->tid, &thread->tid, run, thread);
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  if (id < 0) munmap(thread->map, thread->bytes);
  else *out = thread;
  return id < 0 ? (int)-id : 0;
}

/* The kernel's own wake-up is not a private one. */
int pthread_join(pthread_t thread, void **result)
{
  int tid;
  if (result) return EINVAL;
  while ((tid = atomic_load(&thread->tid)) != 0) edgeq_call4(SYS_futex, (long)&thread->tid, FUTEX_WAIT, tid, 0);
  munmap(thread->map, thread->bytes);
  return 0;
}

int pthread_attr_init(pthread_attr_t *attributes)
{
  attributes->stack_bytes = STACK_BYTES;
  return 0;
}

int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes)
{
  if (bytes < GUARD_BYTES || bytes % GUARD_BYTES) return EINVAL;
  attributes->stack_bytes = bytes;
  return 0;
}

int pthread_attr_destroy(pthread_attr_t *attributes)
{
  (void)attributes;
  return 0;
}
