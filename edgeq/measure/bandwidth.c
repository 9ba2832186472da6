/* DRAM read bandwidth: n threads each read their own contiguous part of one buffer, as a decode step reads its weights.
 * Two ways of reading, because which is faster depends on the machine: the plain loop, and the loop with software
 * prefetch 4 KB ahead (what the GEMV kernels do). */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef uint64_t line __attribute__((vector_size(64)));
enum { LINE = 64, AHEAD = 4096, MAX_THREADS = 256 };

typedef struct {
  const char *bytes;
  size_t size;
  int passes, prefetch;
  pthread_barrier_t *barrier;
  atomic_int *gate; /* 0: wait, 1: read, -1: leave */
  double *seconds; /* filled by thread 0 */
  int leader;
  uint64_t sum; /* keeps the reads alive */
} part;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t read_all(const char *p, size_t size, int prefetch) {
  line a = {0}, b = {0}, c = {0}, d = {0};
  const char *end = p + size;
  for (; p < end; p += 4 * LINE) {
    if (prefetch)
      for (int i = 0; i < 4; i++) __builtin_prefetch(p + AHEAD + i * LINE);
    a += *(const line *)p;
    b += *(const line *)(p + LINE);
    c += *(const line *)(p + 2 * LINE);
    d += *(const line *)(p + 3 * LINE);
  }
  line all = a + b + c + d;
  return all[0] ^ all[1] ^ all[2] ^ all[3] ^ all[4] ^ all[5] ^ all[6] ^ all[7];
}

static void *work(void *argument) {
  part *me = argument;
  while (!atomic_load(me->gate)) sched_yield();
  if (atomic_load(me->gate) < 0) return 0;
  for (int pass = 0; pass < me->passes; pass++) {
    pthread_barrier_wait(me->barrier);
    double start = now();
    me->sum += read_all(me->bytes, me->size, me->prefetch);
    pthread_barrier_wait(me->barrier);
    if (me->leader) me->seconds[pass] = now() - start;
  }
  return 0;
}

/* Reads `size` bytes `passes` times with `threads` threads; seconds[pass] is each pass's time.
 * Returns the bytes read in a pass, or 0 when memory or threads are missing. */
uint64_t edgeq_read_passes(uint64_t size, int threads, int passes, int prefetch, double *seconds) {
  if (threads < 1 || threads > MAX_THREADS) return 0;
  size_t share = size / (size_t)threads / (4 * LINE) * (4 * LINE), total = share * (size_t)threads;
  char *buffer = total ? aligned_alloc(2 << 20, (total + (2 << 20) - 1) / (2 << 20) * (2 << 20)) : 0;
  if (!buffer) return 0;
  memset(buffer, 1, total); /* touched, so that every page is real memory */
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, 0, (unsigned)threads);
  atomic_int gate = 0;
  part parts[MAX_THREADS];
  pthread_t ids[MAX_THREADS];
  for (int i = 0; i < threads; i++)
    parts[i] = (part){buffer + (size_t)i * share, share, passes, prefetch, &barrier, &gate, seconds, i == 0, 0};
  int started = 1;
  while (started < threads && !pthread_create(&ids[started], 0, work, &parts[started])) started++;
  atomic_store(&gate, started == threads ? 1 : -1);
  work(&parts[0]);
  uint64_t sum = parts[0].sum;
  for (int i = 1; i < started; i++) pthread_join(ids[i], 0), sum += parts[i].sum;
  pthread_barrier_destroy(&barrier);
  free(buffer);
  if (started < threads) return 0;
  return sum == 1 ? total + 1 : total; /* the sum is used, so no read can be dropped */
}
